"""The timeline of a mail on its page, with the events as posted and their deliveries."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from events_app.shared.admin.states import Tone, state_word
from events_app.shared.admin.times import utc_time
from events_app.shared.escaping import printable
from sending_app import timeline
from sending_app.admin.json_text import pretty_json
from sending_app.admin.viewer import MailViewer
from sending_app.models import Mail
from sending_app.timeline import Moment

#: Most events, and most replies, of a timeline.
MOST = 50

#: Most characters of a text.
MAX_TEXT = 2000

_TONES = {
    "accepted": Tone.NOTE,
    "answered": Tone.GOOD,
    "bounced": Tone.BAD,
    "cancelled": Tone.WAIT,
    "clicked": Tone.GOOD,
    "complained": Tone.BAD,
    "deferred": Tone.WARN,
    "delivered": Tone.GOOD,
    "failed": Tone.BAD,
    "opened": Tone.GOOD,
    "parked": Tone.WARN,
    "posted": Tone.NOTE,
    "rejected": Tone.BAD,
    "sent twice": Tone.WARN,
    "unknown": Tone.WARN,
    "unsubscribed": Tone.WARN,
}


@dataclass(frozen=True)
class TimelineLine:
    """A line of the timeline."""

    #: HTML.
    at: str
    word: str
    recipient: str
    reason: str
    text: str
    #: The primary key of the event or reply, if the user may view the row.
    event: int | None
    reply: int | None
    #: The posted JSON, if the user may see the JSON.
    raw: str
    #: The state of the event's delivery to the receivers while receivers are to be called, else empty.
    delivery: str


def timeline_lines(mail: Mail, message_ids: Collection[UUID], viewer: MailViewer) -> list[TimelineLine]:
    """The timeline of the mail, with the first events and replies."""
    moments = timeline.of_mail(mail, message_ids, MOST)
    pks = {moment.event for moment in moments if moment.event is not None}
    events: dict[int, Any] = {event.pk: event for event in timeline.stored_events(pks)}
    return [_line(mail, moment, events, viewer) for moment in moments]


def _line(mail: Mail, moment: Moment, events: dict[int, Any], viewer: MailViewer) -> TimelineLine:
    event: Any = events.get(moment.event or 0)
    # A reply may come from a person who was no recipient.
    is_known = mail.recipient_count == 1 and moment.reply is None
    # As on the pages of events and inbound mails.
    shows_raw = event is not None and viewer.events and viewer.received.addresses
    of_address = viewer if moment.reply is None else viewer.received
    return TimelineLine(
        at=utc_time(moment.at),
        word=state_word(moment.what, _TONES.get(moment.what, Tone.WAIT)),
        recipient="" if is_known else of_address.address(moment.recipient),
        reason="" if moment.reject_reason == moment.what else moment.reject_reason,
        text=_text(moment, viewer)[:MAX_TEXT],
        event=moment.event if viewer.events else None,
        reply=moment.reply if viewer.inbound else None,
        raw=printable(pretty_json(bytes(event.raw))) if shows_raw else "",
        delivery=_delivery(event),
    )


def _text(moment: Moment, viewer: MailViewer) -> str:
    if moment.reply is not None:
        return viewer.received.text(moment.said) if viewer.inbound else ""
    # The answer of a mail server, or a URL, may spell an address in any form.
    is_strange = moment.event is not None and moment.what != "sent twice"
    return "" if is_strange and not viewer.addresses else viewer.text(moment.said)


def _delivery(event: Any) -> str:
    pending = getattr(event, "pending", None)
    return "" if pending is None else str(pending.get_state_display()).lower()


def events_left_out(moments: Iterable[TimelineLine], message_ids: Collection[UUID]) -> int:
    """The number of events after the first `MOST`."""
    shown = len({line.event for line in moments if line.event})
    return 0 if shown < MOST else timeline.events_of(message_ids) - shown
