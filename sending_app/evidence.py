"""Events that are being stored: they move the recipients of our mails, and show that SendGrid has them."""

import logging
import re
import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

from celery.exceptions import SoftTimeLimitExceeded
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Case, F, QuerySet, Value, When
from django.db.models.functions import Coalesce

from events_app.models import Among, database_now
from events_app.signals import TrackingEvent
from sending_app import announce
from sending_app.models import Part, Recipient
from sending_app.outbox import using
from sending_app.status import Move, move, queue_again

logger = logging.getLogger(__name__)

# What sg_message_id begins with, and an answer bears as X-Message-Id (SendGrid's glossary). Older ids have
# dots inside; of those the beginning tells nothing.
_MODERN = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(slots=True)
class Sighting:
    """A part, and what events say of it."""

    #: Before these events.
    seen: bool
    x_message_id: str
    #: The requests these events name.
    heard: set[str] = field(default_factory=set)

    @property
    def is_news(self) -> bool:
        return not self.seen or bool(self.heard - {self.x_message_id})


def take_in(events: list[TrackingEvent], **_: Any) -> None:
    """Move whatever these events are about; the receiver of `events_app.signals.stored`.

    Raises OperationalError or InterfaceError, or what a time limit raises: the events must wait as well then.
    Whatever else goes wrong is logged, and the events are stored.
    """
    by_id: _ById = defaultdict(list)
    for event in events:
        if message_id := _uuid(event.message_id):
            by_id[message_id].append(event)
    if not by_id:
        return
    try:
        with transaction.atomic(using=using()):
            _take_in(by_id, using())
    except (OperationalError, InterfaceError, SoftTimeLimitExceeded):
        raise
    except Exception:
        logger.exception("What %d events say of our mails could not be written down", len(events))


_ById: TypeAlias = defaultdict[uuid.UUID, list[TrackingEvent]]


def _take_in(by_id: _ById, database: str) -> None:
    recipients = Recipient.objects.using(database).filter(Among("message_id", list(by_id)))
    found = list(
        recipients.values_list("pk", "message_id", "address", "part", "part__seen_at", "part__x_message_id")
    )
    if not found:
        return
    now = database_now(database)
    parts: dict[int, Sighting] = {}
    moves: dict[int, Move] = {}
    for pk, message_id, address, part, seen_at, x_message_id in found:
        sighting = parts.setdefault(part, Sighting(seen_at is not None, x_message_id))
        for event in by_id[message_id]:
            sighting.heard.update(requests_of(event))
            if (event.recipient or "").casefold() == address:
                moves.setdefault(pk, Move()).hear(event, now)
    # Parts before their recipients: as a part that is given up locks them.
    _see({pk: part.heard for pk, part in parts.items() if part.is_news}, database, now)
    move(moves, database)


def _see(heard: dict[int, set[str]], database: str, now: datetime) -> None:
    """SendGrid has these parts, and has given them to these requests."""
    rows = Part.objects.using(database)
    # As they are now that nobody else writes them: a 202 may have been written down meanwhile.
    locked = rows.filter(Among("pk", list(heard))).order_by("pk").select_for_update()
    before = list(locked.values_list("pk", "state", "seen_at", "x_message_id"))
    rows.filter(Among("pk", [pk for pk, _, seen_at, _ in before if not seen_at])).update(
        seen_at=now,
        # Whoever posts it just now writes down what came of that.
        state=Case(When(state=Part.State.POSTING, then=F("state")), default=Value(Part.State.ACCEPTED)),
        accepted_at=Coalesce("accepted_at", Value(now)),
        finished_at=Coalesce("finished_at", Value(now)),
        error="",
    )
    for pk, state, _, x_message_id in before:
        _note_requests(rows, pk, x_message_id, heard[pk])
        if state in _GIVEN_UP:
            queue_again(pk)
    news = [pk for pk, state, _, _ in before if state not in _TOLD]
    if news:
        transaction.on_commit(partial(_announce, news), using=database, robust=True)


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
        announce.accepted(part)


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
