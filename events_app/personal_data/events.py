"""The events of a person, and the events of others that mention the person."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from django.db import transaction

from events_app.dispatch.erased import without_person
from events_app.dispatch.kinds import EVENTS
from events_app.dispatch.leases import events_database, stored_rows
from events_app.models import Event
from events_app.shared.database import slices
from events_app.shared.personal_data.person import Person
from events_app.shared.personal_data.registry import Counts, Place

#: Events that are searched at once.
SLICE = 1000

_OWN, _MENTIONS = "events of the person", "events that mention the person"

# The columns of a changed event.
_Changes: TypeAlias = Mapping[str, str | bytes]


def count(person: Person) -> Iterator[Counts]:
    for events in _slices():
        changed = [is_own(person, event) for event in events if changes(person, event)]
        yield Counter({_OWN: changed.count(True), _MENTIONS: changed.count(False)})


def erase(person: Person) -> Iterator[Counts]:
    # The index finds the person's own events at once, should the search be broken off.
    own = stored_rows(EVENTS).filter(recipient__in=sorted(person.addresses))
    for events in slices(own, SLICE):
        yield _erase(person, [event.pk for event in events])
    for events in _slices():
        yield _erase(person, [event.pk for event in events if changes(person, event)])


def is_own(person: Person, event: Event) -> bool:
    return event.recipient in person.addresses


def changes(person: Person, event: Event) -> _Changes:
    """The columns of the event that the erasure changes. The key stays: SendGrid may post the event again."""
    raw = bytes(event.raw)
    if is_own(person, event):
        columns: dict[str, str | bytes] = {
            "raw": without_person(raw, person),
            "recipient": person.pseudonym,
        }
    else:
        columns = {"raw": person.redact(raw), "recipient": person.redact(event.recipient)[:320]}
    columns |= {"event_id": person.redact(event.event_id)[:255]}
    columns |= {"message_id": person.redact(event.message_id)[:255]}
    before = {"raw": raw, **{name: getattr(event, name) for name in columns if name != "raw"}}
    return {name: value for name, value in columns.items() if value != before[name]}


def _erase(person: Person, pks: list[int]) -> Counts:
    counts: Counts = Counter({_OWN: 0, _MENTIONS: 0})
    if not pks:
        return counts
    with transaction.atomic(using=events_database()):
        for event in stored_rows(EVENTS).filter(pk__in=pks).order_by("pk").select_for_update():
            if columns := changes(person, event):
                stored_rows(EVENTS).filter(pk=event.pk).update(**columns)
                counts[_OWN if is_own(person, event) else _MENTIONS] += 1
    return counts


def _slices() -> Iterator[list[Event]]:
    events = stored_rows(EVENTS).only("pk", "recipient", "event_id", "message_id", "raw")
    # Later events are stored without the person.
    last = events.order_by("-pk").values_list("pk", flat=True).first()
    return slices(events.filter(pk__lte=last or 0), SLICE)


PLACE = Place("events", count, erase)
