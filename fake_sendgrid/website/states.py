"""Events, answers and times as words of a page."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from http import HTTPStatus

from fake_sendgrid.posted_events import PostedEvent
from fake_sendgrid.website.markup import Markup, fill, fill_each

#: Words and colours of the events, in the order of a mail's life.
EVENTS = {
    "processed": ("processed", "plain"),
    "deferred": ("deferred", "warn"),
    "delivered": ("delivered", "good"),
    "open": ("opened", "seen"),
    "click": ("clicked", "seen"),
    "bounce": ("bounced", "bad"),
    "blocked": ("blocked", "bad"),
    "dropped": ("dropped", "bad"),
    "spamreport": ("complained", "bad"),
    "unsubscribe": ("unsubscribed", "warn"),
}

_STATE = '<span class="state $colour">$word</span> '


def event_kind(posted: PostedEvent) -> str:
    """The key of EVENTS: a bounce of the type blocked is a block."""
    name = str(posted.event.get("event"))
    return "blocked" if name == "bounce" and posted.event.get("type") == "blocked" else name


def event_word(posted: PostedEvent) -> Markup:
    word, colour = EVENTS.get(event_kind(posted), (event_kind(posted), "plain"))
    return fill(_STATE, word=word, colour=colour)


def mail_states(posted: Iterable[PostedEvent]) -> Markup:
    """The kinds of a mail's events with their numbers. A later event hides that the mail was processed."""
    counts = Counter(event_kind(one) for one in posted)
    if len(counts) > 1:
        del counts["processed"]
    order = sorted(counts, key=lambda kind: list(EVENTS).index(kind) if kind in EVENTS else len(EVENTS))
    return fill_each(_STATE, [_counted(kind, counts[kind]) for kind in order])


def _counted(kind: str, count: int) -> dict[str, object]:
    word, colour = EVENTS.get(kind, (kind, "plain"))
    return {"word": f"{word} {count}" if count > 1 else word, "colour": colour}


def answers(statuses: Iterable[int | None]) -> Markup:
    """The answers of a webhook, oldest first; equal answers in a row are counted."""
    runs: list[tuple[int | None, int]] = []
    for status in statuses:
        if runs and runs[-1][0] == status:
            runs[-1] = (status, runs[-1][1] + 1)
        else:
            runs.append((status, 1))
    if not runs:
        return fill(_STATE, word="waiting", colour="plain")
    return fill_each(
        _STATE, [{"word": _answer(*run), "colour": "good" if is_success(run[0]) else "bad"} for run in runs]
    )


def is_success(status: int | None) -> bool:
    return status is not None and 200 <= status < 300


def _answer(status: int | None, count: int) -> str:
    words = "no answer" if status is None else f"{status} {phrase(status)}".strip()
    return f"{words} × {count}" if count > 1 else words


def phrase(status: int) -> str:
    """The words of an HTTP status; empty for an unknown status."""
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else ""


def clock(at: float) -> str:
    """The local time of `at` (Unix seconds), with the date of another day; the number if no clock has it."""
    try:
        moment = datetime.fromtimestamp(at).astimezone()
    except (ValueError, OverflowError, OSError):
        return str(at)
    now = datetime.now().astimezone()
    return f"{moment:%H:%M:%S}" if moment.date() == now.date() else f"{moment:%d %b %H:%M:%S}"
