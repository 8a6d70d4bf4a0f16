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

from events_app.shared.database import Among, database_now
from events_app.signals import TrackingEvent
from sending_app.models import Part, Recipient
from sending_app.outbox import using
from sending_app.outcome import activity, notify
from sending_app.outcome.recipients import Move, move, queue_again, rows_of

logger = logging.getLogger(__name__)

# What sg_message_id begins with, and an answer bears as X-Message-Id (SendGrid's glossary). Older ids have
# dots inside; of those the beginning tells nothing.
_MODERN = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(slots=True)
class Sighting:
    """A part, and what events say of it."""

    #: Before these events.
    seen_at: datetime | None
    x_message_id: str
    #: When the first of these events reached the webhook.
    first_at: datetime
    #: The requests these events name.
    heard: set[str] = field(default_factory=set)

    def hear(self, event: TrackingEvent, received_at: datetime) -> None:
        self.heard.update(requests_of(event))
        self.first_at = min(self.first_at, received_at)

    @property
    def is_news(self) -> bool:
        # Events may be stored in another order than they came in.
        return not self.seen_at or self.first_at < self.seen_at or bool(self.heard - {self.x_message_id})


def take_in(events: Sequence[TrackingEvent], received_at: Sequence[datetime], **_: Any) -> None:
    """Move whatever these events are about; the receiver of `events_app.signals.stored`.

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
            _take_in(by_id, using())
    except (OperationalError, InterfaceError, SoftTimeLimitExceeded):
        raise
    except Exception:
        logger.exception("What %d events say of our mails could not be written down", len(events))


#: Events with when they reached the webhook.
_ById: TypeAlias = defaultdict[uuid.UUID, list[tuple[TrackingEvent, datetime]]]


def _take_in(by_id: _ById, database: str) -> None:
    recipients = Recipient.objects.using(database).filter(Among("message_id", list(by_id)))
    of_part = ("part", "part__account", "part__seen_at", "part__x_message_id")
    found = list(recipients.values_list("pk", "message_id", "address", *of_part))
    if not found:
        return
    now = database_now(database)
    parts: dict[int, Sighting] = {}
    moves: dict[int, Move] = {}
    arrivals: set[tuple[str, datetime]] = set()
    for pk, message_id, address, part, account, seen_at, x_message_id in found:
        arrived = by_id[message_id]
        sighting = parts.setdefault(part, Sighting(seen_at, x_message_id, arrived[0][1]))
        for event, at in arrived:
            arrivals.add((account, at))
            sighting.hear(event, at)
            if (event.recipient or "").casefold() == address:
                moves.setdefault(pk, Move()).hear(event, now)
    # Parts before their recipients: as a part that is given up locks them.
    _see({pk: part for pk, part in parts.items() if part.is_news}, database, now)
    move(moves, database)
    activity.record(arrivals)


def _see(sightings: dict[int, Sighting], database: str, now: datetime) -> None:
    """SendGrid has these parts, and has given them to the requests that were heard."""
    rows = Part.objects.using(database)
    # As they are now that nobody else writes them: a 202 may have been written down meanwhile.
    locked = rows.filter(Among("pk", list(sightings))).order_by("pk").select_for_update()
    before = list(locked.values_list("pk", "state", "x_message_id"))
    _accept({pk: sightings[pk].first_at for pk, _, _ in before}, database, now)
    for pk, state, x_message_id in before:
        _note_requests(rows, pk, x_message_id, sightings[pk].heard)
        if state in _GIVEN_UP:
            queue_again(pk)
    news = [pk for pk, state, _ in before if state not in _TOLD]
    if news:
        transaction.on_commit(partial(_announce, news), using=database, robust=True)


# A part that is being posted is left to its worker, which records the outcome. An acceptance that is known by
# events alone has their time.
_ACCEPT = """
WITH new AS ({new})
UPDATE {table} SET
    seen_at = new.seen_at,
    state = CASE WHEN state = 'posting' THEN state ELSE 'accepted' END,
    accepted_at = CASE
        WHEN accepted_at IS NULL OR accepted_at = {table}.seen_at THEN new.seen_at ELSE accepted_at
    END,
    finished_at = COALESCE(finished_at, %s),
    error = ''
FROM new WHERE {table}.id = new.pk AND ({table}.seen_at IS NULL OR new.seen_at < {table}.seen_at)
"""


def _accept(seen: dict[int, datetime], database: str, now: datetime) -> None:
    """Record when the first event of each part reached the webhook, where none came before it."""
    if not seen:
        return
    connection = connections[database]
    adapt = connection.ops.adapt_datetimefield_value
    new = rows_of(connection, {"pk": "bigint", "seen_at": "timestamptz"})
    rows = [{"pk": pk, "seen_at": adapt(at)} for pk, at in seen.items()]
    with connection.cursor() as cursor:
        sql = _ACCEPT.format(new=new, table=connection.ops.quote_name(Part._meta.db_table))
        cursor.execute(sql, [msgspec.json.encode(rows).decode(), adapt(now)])


# Receivers have been told that SendGrid has it, or whoever posts it will tell them.
_TOLD = (Part.State.ACCEPTED, Part.State.POSTING)

_GIVEN_UP = (Part.State.FAILED, Part.State.CANCELLED)


def _note_requests(rows: "QuerySet[Part]", pk: int, x_message_id: str, heard: set[str]) -> None:
    if heard and not x_message_id:
        rows.filter(pk=pk).update(x_message_id=min(heard))
    # One that does not look like what events name tells nothing of them.
    known = {x_message_id} if _MODERN.fullmatch(x_message_id) else set()
    if len(heard | known) > 1 and rows.filter(pk=pk, sent_twice=False).update(sent_twice=True):
        logger.error("SendGrid has accepted part %d twice", pk)


def _announce(pks: list[int]) -> None:
    for part in Part.objects.using(using()).filter(pk__in=pks).select_related("message"):
        notify.accepted(part)


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
