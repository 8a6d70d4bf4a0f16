"""Send mails again on an operator's request: each as a new message with new ids and the same content."""

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
from django.db import transaction
from django.db.models import Q, QuerySet, Sum

from events_app.shared.changes import BY_HAND, Operator
from events_app.shared.database import AnyOf, database_now
from sending_app import outbox
from sending_app.exceptions import TooLarge
from sending_app.mail import ComposedMail, SharedContent
from sending_app.models import Mail, Recipient
from sending_app.outbox import using
from sending_app.outcome import record

State = Mail.State

#: Mails that a transaction sends again; a mail may have 30 MB.
SLICE = 20

#: States of mails that no worker posts by itself.
_AT_REST = (State.ACCEPTED, State.FAILED, State.CANCELLED, State.REJECTED, State.PARKED)

_REFUSED = Q(state=State.FAILED, refused=True)


def resend_mails(
    pks: Sequence[int], confirmation: uuid.UUID, with_refused: bool = False, operator: Operator = BY_HAND
) -> Counter[str]:
    """Keep a copy of each mail in the outbox, to be posted at once. The mails themselves keep their state.

    A confirmation sends no mail twice. Return numbers of mails: `resent`, `again` for mails that the
    confirmation has sent before, and `unreadable`, beside those of `count_not_resendable`.
    """
    counts = count_not_resendable(pks, with_refused)
    resent = []
    with transaction.atomic(using=using()):
        # Locked in order, like every multi-row write. The lock also makes a second click wait.
        rows = resendable_mails(pks, with_refused).order_by("pk").select_for_update()
        for pk in list(rows.values_list("pk", flat=True)):
            mail = Mail.objects.select_related("message").get(pk=pk)
            try:
                composed = _copy(mail, confirmation)
            except (msgspec.MsgspecError, ValueError):
                counts["unreadable"] += 1
                continue
            ids = [uuid.UUID(personalization.id) for personalization in composed.personalizations]
            if Recipient.objects.filter(message_id=ids[0]).exists():
                counts["again"] += 1
                continue
            try:
                outbox.keep(composed, mail.alias, bulk_above=0)
            except TooLarge:
                counts["unreadable"] += 1
                continue
            _link(mail, ids, operator)
            resent.append(pk)
        operator.record(resent)
    counts["resent"] = len(resent)
    return counts


def resendable_mails(pks: Sequence[int], with_refused: bool = False) -> "QuerySet[Mail]":
    """The mails that `resend_mails` would send again, if their content is readable."""
    mails = _at_rest(pks).filter(personalizations__isnull=False)
    return mails if with_refused else mails.exclude(_REFUSED)


def count_not_resendable(pks: Sequence[int], with_refused: bool = False) -> Counter[str]:
    """Numbers of mails that `resend_mails` leaves alone, by reason."""
    mails = _at_rest(pks)
    refused = 0 if with_refused else mails.filter(_REFUSED, personalizations__isnull=False).count()
    return Counter(empty=mails.filter(personalizations=None).count(), refused=refused)


def count_recipients(mails: "QuerySet[Mail]") -> int:
    """The number of recipients of the mails."""
    total: int | None = mails.order_by().aggregate(total=Sum("recipient_count"))["total"]
    return total or 0


def _at_rest(pks: Sequence[int]) -> "QuerySet[Mail]":
    return Mail.objects.filter(pk__in=sorted(pks), state__in=_AT_REST)


def _copy(mail: Mail, confirmation: uuid.UUID) -> ComposedMail:
    """The mail as a message of its own. The ids follow from the confirmation and the old ids."""
    now = database_now(using()).timestamp()
    shared = outbox.shared_content_of(mail.message)
    personalizations = outbox.personalizations_of(mail)
    return ComposedMail(
        shared=_due(shared, now),
        personalizations=[
            replace(
                personalization,
                id=str(uuid.uuid5(confirmation, personalization.id)),
                given=personalization.given and _without_past(personalization.given, now),
            )
            for personalization in personalizations
        ],
        attachments=outbox.files_of(mail.message),
        is_batch=len(personalizations) > 1,
        bulk=mail.lane == Mail.Lane.BULK,
    )


def _due(shared: SharedContent, now: float) -> SharedContent:
    return replace(shared, body=_without_past(shared.body, now), extra=_without_past(shared.extra, now))


def _without_past(fields: dict[str, Any], now: float) -> dict[str, Any]:
    """The fields without a `send_at` that is over."""
    send_at = fields.get("send_at")
    is_over = isinstance(send_at, int) and send_at <= now
    return {name: field for name, field in fields.items() if not (is_over and name == "send_at")}


def _link(mail: Mail, ids: Sequence[uuid.UUID], operator: Operator) -> None:
    """Name the new mails in the log of the old mail, and the old mail in the logs of the new mails."""
    now = database_now(using())
    copies = (
        Recipient.objects.filter(AnyOf("message_id", ids)).order_by("mail").values_list("mail", flat=True)
    )
    numbers = list(copies.distinct())
    words = ", ".join(f"mail {number}" for number in numbers)
    log = record.log_with(mail, now, f"by {operator.name}: sent again as {words}")
    Mail.objects.filter(pk=mail.pk).update(log=log)
    again = [record.log_entry(now, f"by {operator.name}: mail {mail.pk} sent again")]
    Mail.objects.filter(pk__in=numbers).update(log=again)
