"""`Among` finds what `__in` finds, with one parameter."""

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from events_app.dispatch import store
from events_app.dispatch.leases import Lease
from events_app.models import Event, PendingDelivery
from events_app.shared.database import AnyOf
from fake_sendgrid.events import generate_events
from tests.support.events.stored_events import stream_entries

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


def test_a_filter_by_many_primary_keys_finds_and_deletes_their_rows(database: str) -> None:
    store.store(stream_entries(*generate_events(5)), Lease())
    pks = list(Event.objects.order_by("pk").values_list("pk", flat=True))
    wanted = [pks[3], pks[1], pks[1], 10**15]
    with CaptureQueriesContext(connections[database]) as queries:
        found = PendingDelivery.objects.using(database).filter(AnyOf("pk", wanted)).order_by("pk")
        assert list(found.values_list("pk", flat=True)) == [pks[1], pks[3]]
    assert len(queries) == 1
    assert PendingDelivery.objects.using(database).filter(AnyOf("pk", wanted)).update(failures=1) == 2
    assert PendingDelivery.objects.using(database).filter(AnyOf("pk", wanted)).delete()[0] == 2
    with CaptureQueriesContext(connections[database]) as queries:
        assert not PendingDelivery.objects.using(database).filter(AnyOf("pk", [])).exists()
    assert len(queries) == 0
    assert PendingDelivery.objects.using(database).count() == 3
