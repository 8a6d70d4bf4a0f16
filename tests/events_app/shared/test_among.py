"""`Among` finds what `__in` finds, with one parameter."""

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from events_app.dispatch import store
from events_app.dispatch.leases import Claim
from events_app.models import Event, Work
from events_app.shared.database import Among
from fake_sendgrid.events import history
from tests.support.events.stored_events import stream_entries

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


def test_a_filter_by_many_primary_keys_finds_and_deletes_their_rows(database: str) -> None:
    store.store(stream_entries(*history(5)), Claim())
    pks = list(Event.objects.order_by("pk").values_list("pk", flat=True))
    wanted = [pks[3], pks[1], pks[1], 10**15]
    with CaptureQueriesContext(connections[database]) as queries:
        found = Work.objects.using(database).filter(Among("pk", wanted)).order_by("pk")
        assert list(found.values_list("pk", flat=True)) == [pks[1], pks[3]]
    assert len(queries) == 1
    assert Work.objects.using(database).filter(Among("pk", wanted)).update(failures=1) == 2
    assert Work.objects.using(database).filter(Among("pk", wanted)).delete()[0] == 2
    with CaptureQueriesContext(connections[database]) as queries:
        assert not Work.objects.using(database).filter(Among("pk", [])).exists()
    assert len(queries) == 0
    assert Work.objects.using(database).count() == 3
