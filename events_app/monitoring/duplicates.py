"""The advice about the setting that finds duplicates, from what the workers have counted."""

from collections.abc import Iterator

from events_app.conf import DEDUPE_BY
from events_app.shared import counters
from events_app.shared.facts import REDIS, Depth, FactKind, Level, Reading, declare, source

DEDUPLICATION = declare(
    "deduplication", "Signs that SendGrid's ids mislead about duplicates", FactKind.TEXT, labels=("counter",)
)

#: Signs of misleading ids: counter, level, text and advice.
_SIGNS = (
    (
        counters.EVENTS_ID_CHANGED,
        Level.ADVICE,
        "SendGrid posted events again under another id ({count} of a sample), and they were stored again.",
        'Set ANYMAIL["DEDUPE_BY"] to "content".',
    ),
    (
        counters.EVENTS_ID_CHANGED_OPENED,
        Level.ADVICE,
        "{count} opens and clicks of a sample differ from another one in the id alone: one under another id, "
        "or two within a second.",
        'With DEDUPE_BY = "content" both are stored as one.',
    ),
    (
        counters.EVENTS_ID_REUSED,
        Level.WARNING,
        "{count} events of a sample had the id of a different event. They were taken for duplicates and are "
        "lost.",
        'Set ANYMAIL["DEDUPE_BY"] to "content", which keeps both.',
    ),
)


@source(Depth.FIGURES, REDIS)
def advise() -> Iterator[Reading]:
    """Say when `DEDUPE_BY="content"` would find duplicates better than SendGrid's ids do."""
    if DEDUPE_BY.get() != "event_id":
        return
    counts = counters.read_counters()
    for counter, level, text, advice in _SIGNS:
        if count := counts.get(counter.name):
            sentence = text.format(count=count)
            yield DEDUPLICATION.read(None, counter.name, level=level, text=sentence, advice=advice)
