"""Split a refused mail: the refused personalizations fail alone, and the others are posted again.

The mail keeps the first personalizations to post again; each other list moves to a mail of its own. Only the
current attempt may split, in the transaction that records its result.
"""

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec
from django.db import transaction
from django.db.models import F, Q

from events_app.shared.database import AnyOf, database_now
from sending_app import outbox
from sending_app.api import division
from sending_app.api.client import SendResult
from sending_app.api.division import Division
from sending_app.mail import Personalization
from sending_app.models import Mail, Recipient
from sending_app.outbox import using
from sending_app.outcome import notify, recipients, record

#: Columns that a part has from the whole: its message, its age, and its attempts.
_OF_THE_WHOLE = (
    *("message", "lane", "alias", "created_at", "send_at", "attempts", "unknown_outcomes", "attempted_at"),
    *("unknown_since", "account", "paused_at"),
)


def record_refusal(mail: Mail, result: SendResult) -> None:
    """Record an attempt after which SendGrid refused personalizations of the mail (`result.refused`)."""
    personalizations, places = outbox.personalizations_of(mail), result.refused or frozenset()
    divided = division.divide(personalizations, places)
    changes = record.explained(mail, database_now(using()), result.detail)
    if not divided.remaining:
        # A part of a split mail that stands alone is to blame: SendGrid takes the other parts without it.
        changes["refused"] = len(personalizations) > 1 or 0 in places or mail.split_from is not None
        record.fail(mail, record.being_posted(mail), changes)
        return
    failed = None
    with transaction.atomic(using=using()):
        # Locked in order, like every write of many rows.
        pks = {mail.split_from or mail.pk, mail.pk}
        rows = Mail.objects.using(using()).filter(pk__in=pks).order_by("pk")
        list(rows.select_for_update().values_list("pk"))
        current = record.being_posted(mail)
        if not current.exclude(record.PROVEN_ACCEPTED).exists():
            record.update_unless_accepted(current, changes)
            return
        is_within_limit = _count_requests(mail, len(divided.remaining))
        if is_within_limit:
            failed = _split(mail, divided, changes["error"])
    if failed:
        notify.failed(failed, failed.error)
    if not is_within_limit:
        detail = f"Given up after many requests, as SendGrid refuses some of the recipients: {result.detail}"
        changes = record.explained(mail, database_now(using()), detail)
        record.fail(mail, record.being_posted(mail), changes)


def _count_requests(mail: Mail, further: int) -> bool:
    """Count further requests of the mail that was split first, if its limit allows them."""
    first, mails = mail.split_from or mail.pk, Mail.objects.using(using())
    parts = mails.filter(Q(pk=first) | Q(split_from=first), message=mail.message_id)
    most = division.max_requests(parts.filter(record.PROVEN_ACCEPTED).exists())
    # The update decides: other workers may split other parts at the same time.
    allowed = mails.filter(pk=first, further_requests__lte=most - further)
    return bool(allowed.update(further_requests=F("further_requests") + further))


def _split(mail: Mail, divided: Division, error: str) -> Mail | None:
    """Move a list to a new mail, and post the other list again. Return the new mail if it has failed."""
    now = database_now(using())
    moved = divided.refused or divided.remaining[1]
    part = Mail(
        **{name: getattr(mail, name) for name in _OF_THE_WHOLE},
        **_content(moved),
        due=now,
        split_from=mail.split_from or mail.pk,
        error=error,
    )
    if divided.refused:
        part.state, part.refused, part.finished_at = Mail.State.FAILED, True, now
        part.log = record.log_with(mail, now, f"Refused in the request of mail {mail.pk}: {error}")
    else:
        part.log = record.log_with(
            mail, now, f"The second half of mail {mail.pk}. SendGrid refused the whole: {error}"
        )
    part.save(using=using(), force_insert=True)
    ids = [uuid.UUID(personalization.id) for personalization in moved]
    Recipient.objects.using(using()).filter(AnyOf("message_id", ids), mail=mail).update(mail=part)
    if divided.refused:
        recipients.mark_failed(part)
        what = (
            f"The refused recipients ({part.recipient_count}) are mail {part.pk} now. The others are posted"
        )
    else:
        what = (
            f"SendGrid does not name the refused recipients. Halves are posted, the second as mail {part.pk}"
        )
    record.being_posted(mail).update(
        **_content(divided.remaining[0]),
        state=Mail.State.WAITING,
        due=now,
        error=error,
        log=record.log_with(mail, now, f"{what}: {error}"),
    )
    return part if divided.refused else None


def _content(personalizations: Sequence[Personalization]) -> dict[str, Any]:
    return {
        "recipient_count": sum(len(personalization.recipients) for personalization in personalizations),
        "personalizations": msgspec.json.encode(personalizations),
    }
