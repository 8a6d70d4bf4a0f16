"""Split a refused mail: the refused personalizations fail alone, and the others are posted again.

The refused personalizations, or the second half of the mail, move to a new mail. The mail keeps the others.
Only the current attempt may split, in the transaction that records its result.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models import F, Q, Sum

from events_app.shared.database import AnyOf, database_now
from sending_app import outbox
from sending_app.api import division
from sending_app.api.client import SendResult
from sending_app.api.division import Division
from sending_app.mail import Personalization
from sending_app.models import Mail, Recipient
from sending_app.outbox import using
from sending_app.outcome import notify, recipients, record

#: Columns that each part copies from the split mail: message, age, attempts and marks.
_OF_THE_WHOLE = (
    *("message", "lane", "alias", "created_at", "send_at", "attempts", "unknown_outcomes", "attempted_at"),
    *("unknown_attempts", "unknown_since", "account", "paused_at", "refused", "task_id", "traceparent"),
)


def record_refusal(mail: Mail, result: SendResult) -> None:
    """Record an attempt after which SendGrid refused personalizations of the mail (`result.refused`)."""
    personalizations, places = outbox.personalizations_of(mail), result.refused or frozenset()
    divided = division.divide(personalizations, places)
    is_split, part, detail = False, None, result.detail
    if divided.remaining:
        with transaction.atomic(using=using()):
            # Locked in order, like every write of many rows.
            pks = {mail.split_from or mail.pk, mail.pk}
            rows = Mail.objects.filter(pk__in=pks).order_by("pk")
            list(rows.select_for_update().values_list("pk"))
            is_current = record.being_posted(mail).exclude(record.PROVEN_ACCEPTED).exists()
            is_split = is_current and _count_requests(mail, divided)
            if is_split:
                part = _split(mail, divided, detail)
        detail = f"Given up after many requests, as SendGrid refuses some of the recipients: {detail}"
    if part and part.state == Mail.State.FAILED:
        notify.failed(part, part.error)
    if not is_split:
        changes = record.explained(mail, database_now(using()), detail)
        # A part of a split mail that stands alone is to blame: SendGrid takes the other parts without it.
        is_blamed = len(personalizations) > 1 or 0 in places or mail.split_from is not None
        changes["refused"] = mail.refused or (is_blamed and not divided.remaining)
        record.fail(mail, record.being_posted(mail), changes)


def _count_requests(mail: Mail, divided: Division) -> bool:
    """Count the requests of these parts for the mail that was split first, if the limits allow them."""
    first, further = mail.split_from or mail.pk, len(divided.remaining)
    mails = Mail.objects.filter(message=mail.message_id)
    parts = mails.filter(Q(pk=first) | Q(split_from=first))
    is_progress = record.PROVEN_ACCEPTED | Q(refusal_named=True)
    has_progressed = bool(divided.refused) or parts.filter(is_progress).exists()
    if not has_progressed and not mails.filter(is_progress).exists():
        # All mails of a message share the content, which may be the fault: the smaller limit is for all of
        # them. A retry by an operator begins a new age, without the searches that ended before.
        searches = mails.exclude(finished_at__lt=mail.created_at)
        if searches.aggregate(requests=Sum("further_requests"))["requests"] + further > division.MAX_REQUESTS:
            return False
    changes: dict[str, Any] = {"refusal_named": True} if divided.refused else {}
    # The update decides: other workers may split other parts at the same time.
    allowed = mails.filter(pk=first, further_requests__lte=division.max_requests(has_progressed) - further)
    return bool(allowed.update(further_requests=F("further_requests") + further, **changes))


def _split(mail: Mail, divided: Division, detail: str) -> Mail:
    """Move the refused, or the second half, to a new mail, and make the others due. Return the new mail."""
    now = database_now(using())
    error = record.explained(mail, now, detail)["error"]
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
    Recipient.objects.filter(AnyOf("message_id", ids), mail=mail).update(mail=part)
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
    return part


def _content(personalizations: Sequence[Personalization]) -> dict[str, Any]:
    return {
        "recipient_count": outbox.count_recipients(personalizations),
        "personalizations": outbox.stored(personalizations),
    }
