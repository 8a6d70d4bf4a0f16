"""The facts about the errors behind the newest dead letters."""

import re
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlencode

from events_app import sql
from events_app.dispatch.kinds import EVENTS
from events_app.dispatch.leases import events_database
from events_app.inbound.store import INBOUND_MAILS
from events_app.shared.facts import DATABASE, Depth, Reading, declare, source

#: Dead letters of a kind that are read.
MOST = 1000

#: Characters at the end of a traceback that are read.
CHARACTERS = 2000

ERRORS = declare(
    "dead_letter_errors",
    f"Dead letters among the newest {MOST}, by receiver and type of the last exception",
    labels=("kind", "receiver", "error"),
)

#: In place of a type: the row is unreadable, or the message of the exception is too long.
UNREADABLE, UNKNOWN = "unreadable", "unknown"

# The type and its module, behind the source lines of the innermost frame. A message may quote an address, so
# no other text is taken.
_TYPE = re.compile(r'\n  File "[^\n]*\n(?:[ \t][^\n]*\n)*([^\W\d][\w.]*)(?::|\s*\Z)')


@source(Depth.FIGURES, DATABASE, "Deliveries")
def read_errors() -> Iterator[Reading]:
    """Count the newest dead letters by receiver and error."""
    for kind in (EVENTS, INBOUND_MAILS):
        rows = sql.newest_dead_letters(kind.pending_model, events_database(), MOST, CHARACTERS)
        counts = Counter(
            (receiver, exception_type(end) if receiver else UNREADABLE)
            for receiver, end in rows
            # A receiver without a traceback was not called yet.
            if end or not receiver
        )
        for (receiver, error), count in sorted(counts.items()):
            page = f"admin:events_app_{kind.pending_model._meta.model_name}_changelist?state=dead"
            of_receiver = f"&{urlencode({'receiver': receiver})}" if receiver else ""
            yield ERRORS.read(count, kind.command, receiver, error, page=f"{page}{of_receiver}")


def exception_type(end: str) -> str:
    """The type of the exception, with the module, from the end of the traceback."""
    last_frame = end.rfind('\n  File "')
    found = _TYPE.match(end, last_frame) if last_frame >= 0 else None
    return found[1] if found else UNKNOWN
