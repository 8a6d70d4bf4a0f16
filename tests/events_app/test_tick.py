"""The tick finds everything that waits, asked by however many."""

from collections.abc import Callable

import pytest
from django.db import DatabaseError
from redis import RedisError

from events_app import claims, redis, stream
from events_app import tick as tick_module
from events_app.claims import Claim
from events_app.tick import Due, tick
from tests.events_app.test_dispatch import lapse, store
from tests.events_app.test_inbox import away

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


def test_nothing_waits(database: str) -> None:
    assert tick() == Due()


def test_an_event_in_the_stream_wants_a_drain(database: str) -> None:
    stream.append("tracking", [b"{}"])
    assert tick() == Due(drain=True)


def test_an_event_a_dead_worker_had_read_wants_a_drain(database: str) -> None:
    stream.append("tracking", [b"{}"])
    stream.give_back(stream.read(1, claims.lease_ms()).entries, claims.lease_ms())
    assert tick() == Due(drain=True)


def test_an_event_in_hand_wants_nothing(database: str) -> None:
    stream.append("tracking", [b"{}"])
    stream.read(1, claims.lease_ms())
    store("A1", claim=Claim())
    assert tick() == Due()


def test_released_work_wants_a_drain(database: str) -> None:
    claim = Claim()
    dispatch._release(store("A1", claim=claim), claim)
    assert tick() == Due(drain=True)


def test_lapsed_work_wants_a_recovery(database: str) -> None:
    store("A1", claim=Claim())
    lapse(database)
    assert tick() == Due(recover=True)


def test_dead_work_wants_nothing(database: str) -> None:
    store("A1", claim=Claim())
    lapse(database, state="dead")
    assert tick() == Due()


def test_only_one_of_those_who_ask_at_once_looks(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tick_module, "INTERVAL", 3600)
    stream.append("tracking", [b"{}"])
    assert tick().drain
    assert not tick().drain
    redis.worker().delete(redis.key("tick"))
    assert tick().drain


def test_with_redis_away_it_raises(anymail: Callable[..., None]) -> None:
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    with pytest.raises(RedisError):
        tick()


def test_with_the_database_away_it_raises(database: str) -> None:
    with away(database), pytest.raises(DatabaseError):
        tick()
