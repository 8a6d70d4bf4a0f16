"""Leave suppressed recipients out of mails: mark them as rejected, and tell the receivers of `tracking`."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction

from events_app.shared import own_events
from events_app.shared.counting import count
from events_app.shared.database import database_now
from sending_app import counters, outbox
from sending_app.exceptions import Outcome
from sending_app.mail import SharedContent
from sending_app.models import Mail
from sending_app.outbox import ALL_SUPPRESSED, using
from sending_app.outcome import recipients, record
from sending_app.screening import LeftOut, Screened, addresses_of, screen
from sending_app.suppression.lookup import find_suppressed
from sending_app.suppression.told import raw_events


def record_left_out(shared: SharedContent, left_out: Sequence[LeftOut]) -> None:
    """Mark the recipients, and keep an event for each, in the current transaction."""
    # An event has whole seconds.
    at = database_now(using()).replace(microsecond=0)
    recipients.mark_rejected(left_out, at, using())
    own_events.keep(raw_events(shared, left_out, int(at.timestamp())))


def leave_out_suppressed(mail: Mail) -> bool:
    """Leave suppressed recipients out of the mail that this worker is about to post.

    False if the mail is not to be posted: nobody is left, and the mail is rejected; or another attempt has
    begun, or SendGrid has the mail. Raises database errors, and changes nothing then.
    """
    shared, personalizations = outbox.shared_content_of(mail.message), outbox.personalizations_of(mail)
    reasons = find_suppressed(shared, addresses_of(personalizations), using())
    screened = screen(personalizations, reasons)
    if not screened.left_out:
        return True
    changes = _changes(mail, screened)
    with transaction.atomic(using=using()):
        row = record.being_posted(mail)
        is_changed = (
            bool(row.update(**changes)) if screened.kept else record.update_unless_accepted(row, changes)
        )
        if is_changed:
            record_left_out(shared, screened.left_out)
    if not (is_changed and screened.kept):
        if is_changed:
            count(counters.MAIL_OUTCOMES, mail.lane, Outcome.REJECTED)
        return False
    for column, content in changes.items():
        setattr(mail, column, content)
    return True


def _changes(mail: Mail, screened: Screened) -> dict[str, Any]:
    now = database_now(using())
    if not screened.kept:
        # The mail keeps its recipients: an operator can post the mail once they are no longer suppressed.
        explained = record.explained(mail, now, ALL_SUPPRESSED)
        return {**explained, "state": Mail.State.REJECTED, "finished_at": now}
    text = f"Suppressed recipients were left out ({len(screened.left_out)})."
    return {
        "log": record.log_with(mail, now, text),
        "recipient_count": outbox.count_recipients(screened.kept),
        "personalizations": outbox.stored(screened.kept),
    }
