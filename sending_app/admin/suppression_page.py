"""The page of a suppression: why, since when, by whom, and the mails that did not go to the address."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from events_app.shared.admin.links import link_to
from events_app.shared.admin.states import Tone, state_word
from events_app.shared.admin.times import utc_time
from events_app.shared.personal_data.pseudonyms import is_pseudonym
from sending_app import conf
from sending_app.admin.suppressed import REASON_NAMES, scope_words
from sending_app.admin.viewer import MailViewer
from sending_app.models import Mail, Recipient, Suppression

#: Most rejected mails on the page.
MOST = 50

#: The words of the sources, by value.
SOURCE_NAMES = {
    Suppression.Source.EVENT.value: "an event",
    Suppression.Source.OPERATOR.value: "an operator",
    Suppression.Source.IMPORT.value: "an imported file",
    Suppression.Source.SENDGRID.value: "SendGrid's list",
}

#: The words of the states, with their meaning.
STATES = {
    "active": "send() leaves the address out of such mail.",
    "expired": "The suppression was for a time, which is over. Mail goes to the address again.",
    "ended": "The suppression has ended. Mail goes to the address again. The row stays, so that no older "
    "event brings the suppression back.",
}
_OFF = "The setting SUPPRESSION is off: mail goes to the address all the same."
_TONES = {"active": Tone.WARN, "expired": Tone.WAIT, "ended": Tone.WAIT}


@dataclass(frozen=True)
class RejectedLine:
    """A mail that did not go to the address. `mail` and `since` are HTML."""

    mail: str
    since: str
    reason: str


def state_of(row: Suppression) -> str:
    """A key of `STATES`."""
    if not row.active:
        return "ended"
    return "expired" if row.until and row.until <= timezone.now() else "active"


def shown_state(row: Suppression) -> str:
    """The state as a coloured word, as HTML."""
    state = state_of(row)
    return state_word(state, _TONES[state])


def suppression_context(row: Suppression, viewer: MailViewer) -> dict[str, Any]:
    """The variables of the template."""
    state = state_of(row)
    return {
        "title": f"Suppressed address {row.pk}",
        "subtitle": None,
        "state": shown_state(row),
        "advice": _OFF if state == "active" and not conf.SUPPRESSION.get() else STATES[state],
        "facts": list(_facts(row, viewer)),
        "rejected": list(_rejected(row)) if viewer.mails else [],
        "may_view_mails": viewer.mails,
        "most": MOST,
    }


def _facts(row: Suppression, viewer: MailViewer) -> Iterator[tuple[str, str]]:
    yield "Address", row.address if is_pseudonym(row.address) else viewer.address(row.address)
    yield "Person", "erased: the pseudonym stands for the address" if is_pseudonym(row.address) else ""
    yield "Reason", REASON_NAMES[row.reason]
    yield "Mail", scope_words(row.scope)
    yield "Since", utc_time(row.since)
    yield "Until", utc_time(row.until) if row.until else ""
    yield "Source", SOURCE_NAMES[row.source]
    yield "Last word", utc_time(row.decided_at)
    if row.event_id:
        event = viewer.line(row.event_id)
        if viewer.events:
            url = reverse("admin:events_app_event_changelist", query={"q": row.event_id})
            event = format_html('<a href="{}">{}</a>', url, event)
        yield "Event", event


def _rejected(row: Suppression) -> Iterator[RejectedLine]:
    """The newest mails that left the address out, or that SendGrid dropped."""
    rows = Recipient.objects.filter(address=row.address, status="rejected").order_by("-pk")
    for recipient in rows[:MOST]:
        yield RejectedLine(
            mail=link_to(Mail(pk=recipient.mail_id), f"mail {recipient.mail_id}"),
            since=utc_time(recipient.status_at),
            reason=recipient.reject_reason,
        )
