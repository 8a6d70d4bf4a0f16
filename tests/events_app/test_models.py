"""The tables of the models on both databases, and their clock."""

from datetime import timedelta

import pytest
from django.db import connections, transaction
from django.utils import timezone

from events_app import sql
from events_app.models import PendingDelivery
from events_app.shared.database import database_now
from tests.support.events.stored_events import NOON, new_event

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


def test_database_now_advances_within_a_transaction(database: str) -> None:
    assert abs(database_now(database) - timezone.now()) < timedelta(minutes=1)
    with transaction.atomic(using=database):
        assert database_now(database) < database_now(database)


def test_pending_work_has_defaults_and_a_readable_name(database: str) -> None:
    ((_, pk),) = sql.insert_new_events([new_event(1)], database).items()
    work = PendingDelivery.objects.create(event_id=pk, due=NOON)
    assert (work.state, work.lease, work.error) == (PendingDelivery.State.PENDING, None, "")
    assert (work.failures, work.worker_deaths, work.replay, work.receivers) == (0, 0, False, {})
    assert (str(work), str(work.event)) == (f"pending delivery of event {pk}", f"opened event {pk}")


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_autovacuum_of_pending_work_uses_fixed_thresholds(database: str) -> None:
    with connections[database].cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE oid = 'events_app_pendingdelivery'::regclass")
        (found,) = cursor.fetchone()
    assert {
        "autovacuum_vacuum_scale_factor=0",
        "autovacuum_vacuum_threshold=10000",
        "autovacuum_vacuum_cost_delay=0",
        "autovacuum_analyze_scale_factor=0",
        "autovacuum_analyze_threshold=10000",
    } <= set(found)
