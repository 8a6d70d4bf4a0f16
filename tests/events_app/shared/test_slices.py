"""However many rows there are, each is met once and few are held at once."""

import pytest

from events_app.filters import EventCriteria, find_events
from events_app.models import PendingDelivery
from events_app.shared.database import slices
from tests.support.events.stored_events import add_pending, open_event, store_done

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


def test_slices_yield_each_event_once_despite_changes(database: str) -> None:
    pks = store_done(*(open_event(f"{number:02d}") for number in range(25)))
    for pk in pks:
        add_pending(pk, state="dead")
    met: list[int] = []
    for part in slices(find_events(EventCriteria(states=("dead",))), 10):
        met += [event.pk for event in part]
        # One of those met comes back, one of those to come goes.
        PendingDelivery.objects.filter(pk__in=[event.pk for event in part[1:]]).delete()
    assert met == sorted(pks)


def test_slices_can_yield_the_newest_first(database: str) -> None:
    pks = store_done(*(open_event(f"{number:02d}") for number in range(25)))
    parts = [
        [event.pk for event in part] for part in slices(find_events(EventCriteria()), 10, newest_first=True)
    ]
    assert [len(part) for part in parts] == [10, 10, 5]
    assert [pk for part in parts for pk in part] == sorted(pks, reverse=True)


def test_no_events_yield_no_slices(database: str) -> None:
    assert list(slices(find_events(EventCriteria()), 10)) == []
