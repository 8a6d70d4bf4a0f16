"""The tables of the models on both databases, and their clock."""

from datetime import timedelta

import pytest
from django.apps import apps
from django.db import connections, models, transaction
from django.utils import timezone

from events_app import sql
from events_app.models import InboundMail, PendingDelivery
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


@pytest.mark.parametrize(
    "model",
    [model for app in ("events_app", "sending_app") for model in apps.get_app_config(app).get_models()],
)
def test_rows_are_read_from_the_database_they_are_written_to(
    database: str, model: type[models.Model]
) -> None:
    # The router of the tests sends all other reads to a replica.
    assert model._default_manager.all().db == database
    assert model._default_manager.db == database  # Django's manager asks the router by itself
    assert model._base_manager.all().db == database  # reads deferred columns and foreign keys
    assert model._default_manager.using("replica").db == "replica"
    assert model._default_manager.db_manager("replica").db == "replica"


def test_related_rows_and_deferred_columns_come_from_the_same_database(database: str) -> None:
    first = InboundMail.objects.create(file="1", size=1, received_at=NOON)
    second = InboundMail.objects.create(file="2", size=1, received_at=NOON, duplicate_of=first)
    deferred = InboundMail.objects.only("pk").get(pk=second.pk)
    assert deferred.file == "2"
    assert deferred.duplicate_of == first
    assert list(first.inboundmail_set.all()) == [second]
    assert list(InboundMail.objects.prefetch_related("inboundmail_set").first().inboundmail_set.all())  # type: ignore[union-attr]
    second.refresh_from_db()
    duplicates = InboundMail.objects.filter(duplicate_of__in=InboundMail.objects.all())
    assert duplicates.count() == 1
    assert duplicates.using("replica").db == "replica"  # Django refuses no subquery there


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
