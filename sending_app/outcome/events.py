"""Apply event feedback: events move recipients' statuses and prove that SendGrid accepted a mail."""

import logging
import re
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

from celery.exceptions import SoftTimeLimitExceeded
from django.db import InterfaceError, OperationalError, transaction

from events_app.shared import own_events
from events_app.shared.addresses import comparable
from events_app.shared.database import AnyOf
from events_app.shared.log import failures
from events_app.signals import TrackingEvent
from sending_app import sql
from sending_app.models import Mail, Recipient
from sending_app.outbox import using
from sending_app.outcome import activity, notify
from sending_app.outcome.recipients import RecipientUpdate, apply_updates, requeue, requeue_rejected

logger = logging.getLogger(__name__)

# The beginning of sg_message_id, equal to the X-Message-Id of SendGrid's response (SendGrid's glossary).
# Older ids contain dots, so their beginning tells nothing.
_MODERN = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(slots=True)
class Feedback:
    """Event feedback on a mail."""

    #: Value of the row before these events.
    first_event_at: datetime | None
    x_message_id: str
    #: When the first of these events reached the webhook.
    first_at: datetime
    #: Ids of the requests in these events.
    request_ids: set[str] = field(default_factory=set)

    def apply(self, event: TrackingEvent, received_at: datetime) -> None:
        self.request_ids.update(requests_of(event))
        self.first_at = min(self.first_at, received_at)

    @property
    def is_new(self) -> bool:
        # The order of storing may differ from the order of arrival.
        return (
            not self.first_event_at
            or self.first_at < self.first_event_at
            or bool(self.request_ids - {self.x_message_id})
        )


def apply_events(
    events: Sequence[TrackingEvent], received_at: Sequence[datetime], **_: Any
) -> dict[str, str] | None:
    """Apply the feedback of these events. The receiver of `events_app.signals.stored`.

    Return the `traceparent` of the spans that sent the mails, by message id, as far as there are any.
    Raises OperationalError, InterfaceError and SoftTimeLimitExceeded: the events must wait too. Any other
    error is logged, and the events are stored.
    """
    by_id: _ById = defaultdict(list)
    for event, at in zip(events, received_at, strict=True):
        if event.message_id and len(event.message_id) == 36:
            with suppress(ValueError):  # an id of another system
                by_id[uuid.UUID(event.message_id)].append((event, at))
    if not by_id:
        return None
    try:
        with transaction.atomic(using=using()):
            return _apply_events(by_id, using())
    except (OperationalError, InterfaceError, SoftTimeLimitExceeded):
        raise
    except Exception as error:  # noqa: BLE001 (the events must be stored)
        failures.report("The feedback of %d events could not be applied", len(events), error=error)
    return None


#: Events with their time of arrival at the webhook.
_ById: TypeAlias = defaultdict[uuid.UUID, list[tuple[TrackingEvent, datetime]]]


def _apply_events(by_id: _ById, database: str) -> dict[str, str] | None:
    recipients = Recipient.objects.using(database).filter(AnyOf("message_id", list(by_id)))
    of_mail = (
        "mail",
        "mail__account",
        "mail__accepted_at",
        "mail__first_event_at",
        "mail__x_message_id",
        "mail__unknown_outcomes",
        "mail__traceparent",
    )
    rows = list(recipients.values_list("pk", "message_id", "address", *of_mail))
    if not rows:
        return None
    mails: dict[int, Feedback] = {}
    updates: dict[int, RecipientUpdate] = {}
    arrivals: set[tuple[str, datetime]] = set()
    unknown: set[int] = set()
    for pk, message_id, address, mail, account, accepted_at, first_event_at, *rest in rows:
        x_message_id, unknown_outcomes, _ = rest
        for event, at in by_id[message_id]:
            # An event of ours proves nothing about SendGrid.
            if not own_events.is_own(event.esp_event):
                arrivals.add((account, at))
                if unknown_outcomes:
                    unknown.add(mail)
                mails.setdefault(mail, Feedback(first_event_at, x_message_id, at)).apply(event, at)
            if comparable(event.recipient or "") == address:
                updates.setdefault(pk, RecipientUpdate(accepted_at=accepted_at)).apply(event, at)
    if unknown:
        _add_parts(mails, unknown, database)
    # Mails before recipients, the order in which a failing mail locks rows.
    _apply_feedback({pk: mail for pk, mail in mails.items() if mail.is_new}, database)
    apply_updates(updates, database)
    activity.record(arrivals)
    return {str(message_id): traceparent for _, message_id, *_, traceparent in rows if traceparent}


def _add_parts(feedback: dict[int, Feedback], unknown: set[int], database: str) -> None:
    """Add the feedback on a part of a split mail to the other parts of the accepted request.

    SendGrid may have accepted an earlier attempt, whose outcome was unknown, and have refused the attempt
    after which the mail was split. Posting the other parts would send them twice.
    """
    rows = Mail.objects.using(database)
    columns = ("pk", "message", "unknown_attempts", "first_event_at", "x_message_id")
    # A mail that is posting or accepted may have its events from its own last attempt.
    undecided = rows.filter(AnyOf("pk", list(unknown))).exclude(state__in=_NOTIFIED)
    for pk, message, attempts, *_ in list(undecided.values_list(*columns)):
        for other, _, other_attempts, first_event_at, x_message_id in rows.filter(
            message=message, unknown_outcomes__gt=0
        ).values_list(*columns):
            # Any of the attempts may be the accepted attempt. Parts have the attempts of the whole.
            if attempts and {*attempts} <= {*other_attempts}:
                proof = feedback[pk]
                part = Feedback(first_event_at, x_message_id, proof.first_at, {*proof.request_ids})
                known = feedback.setdefault(other, part)
                known.first_at = min(known.first_at, proof.first_at)
                known.request_ids |= proof.request_ids


def _apply_feedback(feedback: dict[int, Feedback], database: str) -> None:
    """Mark these mails accepted, and record the requests that the events name."""
    rows = Mail.objects.using(database)
    # Read again under the lock: a worker may have recorded a 202 meanwhile.
    locked = rows.filter(AnyOf("pk", list(feedback))).order_by("pk").select_for_update()
    before = list(locked.values_list("pk", "state", "x_message_id"))
    if before:
        sql.accept_by_events(database, {pk: feedback[pk].first_at for pk, _, _ in before})
    for pk, state, x_message_id in before:
        request_ids = feedback[pk].request_ids
        if request_ids and not x_message_id:
            rows.filter(pk=pk).update(x_message_id=min(request_ids))
        # An id of another form cannot be compared with the ids in events.
        known = {x_message_id} if _MODERN.fullmatch(x_message_id) else set()
        if len(request_ids | known) > 1 and rows.filter(pk=pk, sent_twice=False).update(sent_twice=True):
            logger.error("SendGrid has accepted mail %d twice", pk, extra={"mail": pk})
        if state in _GIVEN_UP:
            requeue(pk)
        if state == Mail.State.REJECTED:
            # SendGrid has the mail by an earlier attempt, whose outcome was unknown.
            requeue_rejected(rows.get(pk=pk))
    newly_accepted = [pk for pk, state, _ in before if state not in _NOTIFIED]
    if newly_accepted:
        transaction.on_commit(partial(_notify, newly_accepted), using=database, robust=True)


# Receivers were notified, or the worker that posts will notify them.
_NOTIFIED = (Mail.State.ACCEPTED, Mail.State.POSTING)

_GIVEN_UP = (Mail.State.FAILED, Mail.State.CANCELLED)


def _notify(pks: list[int]) -> None:
    for mail in Mail.objects.filter(pk__in=pks).select_related("message"):
        notify.accepted(mail)


def requests_of(event: TrackingEvent) -> Iterator[str]:
    """The X-Message-Id of the request that sent the event's mail: the beginning of sg_message_id."""
    full_id = event.esp_event.get("sg_message_id")
    base, dot, _ = full_id.strip().partition(".") if isinstance(full_id, str) else ("", "", "")
    if dot and _MODERN.fullmatch(base):
        yield base
