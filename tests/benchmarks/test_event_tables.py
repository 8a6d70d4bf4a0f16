"""The events with which `growth` fills the table look like those of a deployment."""

import shutil
import uuid
from collections import namedtuple
from datetime import UTC, datetime
from unittest import mock

import pytest
from django.db import connections

from benchmarks.event_tables import A_SECOND, EventTables, fill_statement
from events_app.decode import time_bytes
from events_app.models import Event
from tests.support.databases import on_postgresql

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

START, COUNT = 1_780_000_000, 12


@on_postgresql
def test_keys_and_message_ids_begin_with_the_time(database: str) -> None:
    for first in (1, COUNT + 1):
        with connections[database].cursor() as cursor:
            cursor.execute(fill_statement(100, first, COUNT, START))
    rows = list(Event.objects.order_by("pk"))
    assert len({bytes(row.key) for row in rows}) == len(rows) == 2 * COUNT
    seconds = [START + number // A_SECOND for number in range(COUNT)]
    assert [row.timestamp for row in rows] == [datetime.fromtimestamp(each, UTC) for each in seconds * 2]
    for row in rows:
        assert bytes(row.key)[:4] == time_bytes(row.timestamp)
        message_id = uuid.UUID(row.message_id)
        assert (message_id.version, message_id.variant) == (7, uuid.RFC_4122)
        assert row.timestamp
        assert 0 <= row.timestamp.timestamp() * 1000 - (message_id.int >> 80) + 1000 <= 2000
    assert len({row.message_id for row in rows}) == pytest.approx(2 * COUNT / 3, abs=2)


def test_a_disk_without_space_for_the_events_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = EventTables.__new__(EventTables)
    tables._database = mock.MagicMock()
    tables._database.execute.return_value.fetchone.return_value = ("/data",)
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(free=20 * 10**9))
    tables.check_disk(1_000_000)
    with pytest.raises(SystemExit, match=r"30,000,000 more events need 48 GB .* /data, which has 20 GB free"):
        tables.check_disk(30_000_000)
