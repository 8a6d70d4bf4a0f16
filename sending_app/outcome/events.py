"""Events that are being stored: they move the recipients of our mails, and show that SendGrid has them."""

import logging
import re
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

import msgspec
from celery.exceptions import SoftTimeLimitExceeded
from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.models import QuerySet

from events_app.shared.database import AnyOf, database_now
from events_app.signals import TrackingEvent
from sending_app.models import Mail, Recipient
from sending_app.outbox import using
from sending_app.outcome import activity, notify
from sending_app.outcome.recipients import RecipientUpdate, apply_updates, requeue, rows_of

logger = logging.getLogger(__name__)

# What sg_message_id begins with, and an answer bears as X-Message-Id (SendGrid's glossary). Older ids have
# dots inside; of those the beginning tells nothing.
_MODERN = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(slots=True)
class Feedback:
    """Event feedback on a mail."""

    #: Before these events.
    first_event_at: datetime | None
    x_message_id: str
    #: When the first of these events reached the webhook.
    first_at: datetime
    #: The requests these events name.
    request_ids: set[str] = field(default_factory=set)

    def apply(self, event: TrackingEvent, received_at: datetime) -> None:
        self.request_ids.update(requests_of(event))
        self.first_at = min(self.first_at, received_at)

    @property
    def is_new(self) -> bool:
        # Events may be stored in another order than they came in.
        return (
            not self.first_event_at
            or self.first_at < self.first_event_at
            or bool(self.request_ids - {self.x_message_id})
        )


def apply_events(events: Sequence[TrackingEvent], received_at: Sequence[datetime], **_: Any) -> None:
    """Apply the feedback of these events; the receiver of `events_app.signals.stored`.

    Raises OperationalError or InterfaceError, or what a time limit raises: the events must wait as well then.
    Whatever else goes wrong is logged, and the events are stored.
    """
    by_id: _ById = defaultdict(list)
    for event, at in zip(events, received_at, strict=True):
        if message_id := _uuid(event.message_id):
            by_id[message_id].append((event, at))
    if not by_id:
        return
    try:
        with transaction.atomic(using=using()):
            _apply_events(by_id, using())
    except (OperationalError, InterfaceError, SoftTimeLimitExceeded):
        raise
    except Exception:
        logger.exception("What %d events say of our mails could not be written down", len(events))


#: Events with when they reached the webhook.
_ById: TypeAlias = defaultdict[uuid.UUID, list[tuple[TrackingEvent, datetime]]]


def _apply_events(by_id: _ById, database: str) -> None:
    recipients = Recipient.objects.using(database).filter(AnyOf("message_id", list(by_id)))
    of_mail = ("mail", "mail__account", "mail__first_event_at", "mail__x_message_id")
    found = list(recipients.values_list("pk", "message_id", "address", *of_mail))
    if not found:
        return
    now = database_now(database)
    mails: dict[int, Feedback] = {}
    updates: dict[int, RecipientUpdate] = {}
    arrivals: set[tuple[str, datetime]] = set()
    for pk, message_id, address, mail, account, first_event_at, x_message_id in found:
        arrived = by_id[message_id]
        feedback = mails.setdefault(mail, Feedback(first_event_at, x_message_id, arrived[0][1]))
        for event, at in arrived:
            arrivals.add((account, at))
            feedback.apply(event, at)
            if (event.recipient or "").casefold() == address:
                updates.setdefault(pk, RecipientUpdate()).apply(event, now)
    # Mails before their recipients: as a mail that is given up locks them.
    _apply_feedback({pk: mail for pk, mail in mails.items() if mail.is_new}, database, now)
    apply_updates(updates, database)
    activity.record(arrivals)


def _apply_feedback(feedback: dict[int, Feedback], database: str, now: datetime) -> None:
    """SendGrid has these mails, and has given them to the requests that their events name."""
    rows = Mail.objects.using(database)
    # As they are now that nobody else writes them: a 202 may have been written down meanwhile.
    locked = rows.filter(AnyOf("pk", list(feedback))).order_by("pk").select_for_update()
    before = list(locked.values_list("pk", "state", "x_message_id"))
    _accept({pk: feedback[pk].first_at for pk, _, _ in before}, database, now)
    for pk, state, x_message_id in before:
        _record_requests(rows, pk, x_message_id, feedback[pk].request_ids)
        if state in _GIVEN_UP:
            requeue(pk)
    newly_accepted = [pk for pk, state, _ in before if state not in _NOTIFIED]
    if newly_accepted:
        transaction.on_commit(partial(_notify, newly_accepted), using=database, robust=True)


# A mail that is being posted is left to its worker, which records the outcome. An acceptance that is known by
# events alone has their time.
_ACCEPT = """
WITH new AS ({new})
UPDATE {table} SET
    first_event_at = new.first_event_at,
    state = CASE WHEN state = 'posting' THEN state ELSE 'accepted' END,
    accepted_at = CASE
        WHEN accepted_at IS NULL OR accepted_at = {table}.first_event_at THEN new.first_event_at
        ELSE accepted_at
    END,
    finished_at = COALESCE(finished_at, %s),
    error = ''
FROM new WHERE {table}.id = new.pk
    AND ({table}.first_event_at IS NULL OR new.first_event_at < {table}.first_event_at)
"""


def _accept(seen: dict[int, datetime], database: str, now: datetime) -> None:
    """Record when the first event of each mail reached the webhook, where none came before it."""
    if not seen:
        return
    connection = connections[database]
    adapt = connection.ops.adapt_datetimefield_value
    new = rows_of(connection, {"pk": "bigint", "first_event_at": "timestamptz"})
    rows = [{"pk": pk, "first_event_at": adapt(at)} for pk, at in seen.items()]
    with connection.cursor() as cursor:
        sql = _ACCEPT.format(new=new, table=connection.ops.quote_name(Mail._meta.db_table))
        cursor.execute(sql, [msgspec.json.encode(rows).decode(), adapt(now)])


# Receivers have been told that SendGrid has it, or whoever posts it will tell them.
_NOTIFIED = (Mail.State.ACCEPTED, Mail.State.POSTING)

_GIVEN_UP = (Mail.State.FAILED, Mail.State.CANCELLED)


def _record_requests(rows: "QuerySet[Mail]", pk: int, x_message_id: str, request_ids: set[str]) -> None:
    if request_ids and not x_message_id:
        rows.filter(pk=pk).update(x_message_id=min(request_ids))
    # One that does not look like what events name tells nothing of them.
    known = {x_message_id} if _MODERN.fullmatch(x_message_id) else set()
    if len(request_ids | known) > 1 and rows.filter(pk=pk, sent_twice=False).update(sent_twice=True):
        logger.error("SendGrid has accepted mail %d twice", pk)


def _notify(pks: list[int]) -> None:
    for mail in Mail.objects.using(using()).filter(pk__in=pks).select_related("message"):
        notify.accepted(mail)


def requests_of(event: TrackingEvent) -> Iterator[str]:
    """The X-Message-Id of the request the event's mail came with: its sg_message_id begins with it."""
    found = event.esp_event.get("sg_message_id")
    base, dot, _ = found.strip().partition(".") if isinstance(found, str) else ("", "", "")
    if dot and _MODERN.fullmatch(base):
        yield base


def _uuid(text: str | None) -> uuid.UUID | None:
    try:
        return uuid.UUID(text) if text and len(text) == 36 else None
    except ValueError:
        return None
