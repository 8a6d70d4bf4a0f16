"""Heartbeats name the workers that live, by the clock of Redis."""

import pytest

from events_app.shared import heartbeats, redis
from events_app.shared.heartbeats import STALE, Worker, read_queues
from tests.support.workers import record_worker


def age(id: str, seconds: int) -> None:
    """Let the last heartbeat lie this far in the past."""
    server, key = redis.for_workers(), redis.key("workers")
    heard, _, rest = str(server.hget(key, id).decode()).partition(" ")  # type: ignore[union-attr]
    server.hset(key, id, f"{int(heard) - seconds} {rest}")


def test_a_worker_lives_until_its_heartbeats_stop() -> None:
    assert heartbeats.workers() == []
    heartbeats.record_heartbeat("1", Worker("b@here", ("sendgrid.mail", "celery"), 8))
    heartbeats.record_heartbeat("2", Worker("a@here", ("sendgrid.events",), 2))
    assert [worker.name for worker in heartbeats.workers()] == ["a@here", "b@here"]
    age("2", STALE + 2)
    assert heartbeats.workers() == [Worker("b@here", ("sendgrid.mail", "celery"), 8)]
    heartbeats.record_heartbeat("1", Worker("b@here", ("sendgrid.bulk",), 8))
    assert heartbeats.workers() == [Worker("b@here", ("sendgrid.bulk",), 8)]
    assert redis.for_workers().hlen(redis.key("workers")) == 1  # the other one's field is gone
    heartbeats.remove("1")
    assert heartbeats.workers() == []


def test_the_last_worker_leaves_no_key() -> None:
    heartbeats.record_heartbeat("1", Worker("a@here", (), 1))
    assert 0 < redis.for_workers().ttl(redis.key("workers")) <= STALE


def test_two_workers_of_one_name_are_two() -> None:
    heartbeats.record_heartbeat("1", Worker("a@here", ("sendgrid.mail",), 1))
    heartbeats.record_heartbeat("2", Worker("a@here", ("sendgrid.bulk",), 1))
    readings = list(read_queues({"sendgrid.mail": "mails", "sendgrid.bulk": "bulk mails"}))
    assert [reading.value for reading in readings] == [1, 1]


@pytest.mark.parametrize(
    "value", ["x", "99999999999 {}", "99999999999 x", "99999999999 []", '99999999999 {"name": 1}', b"9 \xff"]
)
def test_a_field_of_another_program_hides_no_worker(value: bytes | str) -> None:
    record_worker("sendgrid.mail", name="1")
    redis.for_workers().hset(redis.key("workers"), "foreign", value)
    assert [worker.name for worker in heartbeats.workers()] == ["1"]


def test_queues_with_and_without_workers_are_told() -> None:
    record_worker("sendgrid.mail", name="1")
    record_worker("sendgrid.mail", name="2")
    one, two = read_queues({"sendgrid.mail": "mails", "sendgrid.bulk": "bulk mails"})
    assert one.line() == "2 workers take mails: queue sendgrid.mail."
    assert two.line() == (
        "ERROR: No worker takes bulk mails: queue sendgrid.bulk. "
        "Start a worker with -Q sendgrid.bulk. Until then this work waits."
    )
