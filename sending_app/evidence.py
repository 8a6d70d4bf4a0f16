"""Events that are being stored: they move the recipients of our mails, and show that SendGrid has them."""

import logging
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Case, F, Value, When
from django.db.models.functions import Coalesce

from events_app.models import database_now
from events_app.signals import TrackingEvent
from sending_app.models import Part, Recipient
from sending_app.outbox import using
from sending_app.status import Move, move

logger = logging.getLogger(__name__)

#: Characters of the X-Message-Id that a request's answer bears, as far as modern ones go (sendgrid/docs).
X_MESSAGE_ID_LENGTH = 22


@dataclass(slots=True)
class Sighting:
    """A part, and what events say of it."""

    #: Before these events.
    seen: bool
    x_message_id: str
    #: The requests these events name.
    heard: set[str] = field(default_factory=set)


def take_in(events: list[TrackingEvent], **_: Any) -> None:
    """Move whatever these events are about; the receiver of `events_app.signals.stored`.

    Raises OperationalError or InterfaceError: the events must wait as well then. Whatever else goes wrong is
    logged, and the events are stored.
    """
    try:
        with transaction.atomic(using=using()):
            _take_in(events, using())
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        logger.exception("What %d events say of our mails could not be written down", len(events))


def _take_in(events: Iterable[TrackingEvent], database: str) -> None:
    by_id: defaultdict[uuid.UUID, list[TrackingEvent]] = defaultdict(list)
    for event in events:
        message_id = _uuid(event.message_id)
        if message_id:
            by_id[message_id].append(event)
    found = Recipient.objects.using(database).filter(message_id__in=list(by_id)) if by_id else ()
    now = database_now(database)
    parts: dict[int, Sighting] = {}
    moves: dict[int, Move] = {}
    of_part = ("part__seen_at", "part__x_message_id")
    for pk, message_id, address, part, seen_at, x_message_id in (
        found.values_list("pk", "message_id", "address", "part", *of_part) if found else ()
    ):
        sighting = parts.setdefault(part, Sighting(seen_at is not None, x_message_id))
        for event in by_id[message_id]:
            sighting.heard.update(requests_of(event))
            if (event.recipient or "").casefold() == address:
                moves.setdefault(pk, Move()).hear(event, now)
    # Parts before their recipients: as a part that is given up locks them.
    _see(parts, database, now)
    move(moves, database)


def _see(parts: dict[int, Sighting], database: str, now: datetime) -> None:
    rows = Part.objects.using(database)
    changed = sorted(pk for pk, part in parts.items() if not part.seen or _twice(part))
    if not changed:
        return
    list(rows.filter(pk__in=changed).order_by("pk").select_for_update().values_list("pk"))
    rows.filter(pk__in=changed, seen_at=None).update(
        seen_at=now,
        # Whoever posts it just now writes down what came of that.
        state=Case(When(state=Part.State.POSTING, then=F("state")), default=Value(Part.State.ACCEPTED)),
        accepted_at=Coalesce("accepted_at", Value(now)),
        finished_at=Coalesce("finished_at", Value(now)),
        error="",
    )
    for pk in changed:
        if not parts[pk].x_message_id and parts[pk].heard:
            rows.filter(pk=pk, x_message_id="").update(x_message_id=min(parts[pk].heard))
        if _twice(parts[pk]) and rows.filter(pk=pk, sent_twice=False).update(sent_twice=True):
            logger.error("SendGrid has accepted part %d twice", pk)


def _twice(part: Sighting) -> bool:
    return len(part.heard | ({part.x_message_id} - {""})) > 1


def requests_of(event: TrackingEvent) -> Iterator[str]:
    """The X-Message-Id of the request the event's mail came with: its sg_message_id begins with it."""
    found = event.esp_event.get("sg_message_id")
    base, dot, _ = found.strip().partition(".") if isinstance(found, str) else ("", "", "")
    # Older ids have dots inside; of those the beginning tells nothing.
    if dot and len(base) == X_MESSAGE_ID_LENGTH:
        yield base


def _uuid(text: str | None) -> uuid.UUID | None:
    try:
        return uuid.UUID(text) if text and len(text) == 36 else None
    except ValueError:
        return None
