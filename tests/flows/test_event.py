"""The way of an event, whole: from a signed post to a receiver, once, whatever happens on the way."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import takewhile
from pathlib import Path
from threading import Event as Flag

import pytest
from redis import Redis

from devstack.process import wait_for
from devstack.valkey import Valkey
from events_app.shared import counters
from fake_sendgrid.events import generate_events
from tests.support.flows.databases import DatabaseTemplate, on_postgres
from tests.support.flows.deployment import PATIENCE, Deployment, Servers, event_ids, once_each, sample_events


@pytest.mark.quick
def test_every_event_reaches_the_receiver_once(deployment: Deployment) -> None:
    deployment.web()
    deployment.worker()
    events = generate_events(1200)

    assert deployment.post(events[:1000]) == 200
    for at in range(1000, 1200, 20):
        assert deployment.post(events[at : at + 20]) == 200

    deployment.wait_until_received(stored=1200)
    assert deployment.called() == once_each(events)


@pytest.mark.quick
def test_every_sample_event_passes_the_webhook_view_and_is_stored(deployment: Deployment) -> None:
    deployment.web()
    deployment.worker()
    cases = sample_events()
    raws = [case["raw"] for case in cases]

    assert deployment.post(raws) == 200

    with_id = [raw["sg_event_id"] for raw in raws if raw.get("sg_event_id")]
    without_id = [raw for raw in raws if not raw.get("sg_event_id")]
    deployment.wait_until_received(stored=len(set(with_id)) + len(without_id))
    stored = dict(deployment.query("SELECT event_id, event_type FROM events_app_event"))
    for case in cases:
        event_id = case["raw"].get("sg_event_id")
        if event_id:
            assert stored[event_id[:255]] == case["expect"]["event_type"], case["case"]
    assert deployment.query("SELECT count(*) FROM events_app_pendingdelivery") == [(0,)]


def test_duplicate_batches_posted_by_ten_clients_are_stored_once(deployment: Deployment) -> None:
    deployment.web()
    deployment.worker()
    events = generate_events(400)

    with ThreadPoolExecutor(10) as clients:
        statuses = list(clients.map(deployment.post, [events] * 10))

    assert statuses == [200] * 10
    deployment.wait_until_counted(9 * 400, counters.EVENTS_DUPLICATE)
    deployment.wait_until_received(stored=400)
    assert deployment.called() == once_each(events)


@on_postgres
def test_overlapping_batches_in_any_order_never_deadlock(deployment: Deployment) -> None:
    deployment.web()
    worker = deployment.worker("--concurrency", "4")
    events = generate_events(600)
    posts = [events[at : at + 300] for at in range(0, 300, 30)]
    posts += [list(reversed(post)) for post in posts]

    with ThreadPoolExecutor(10) as clients:
        assert set(clients.map(deployment.post, posts)) == {200}

    stored = len({event_id for post in posts for event_id in event_ids(post)})
    deployment.wait_until_counted(sum(map(len, posts)) - stored, counters.EVENTS_DUPLICATE)
    deployment.wait_until_received(stored=stored)
    assert set(deployment.called().values()) == {1}
    assert "deadlock" not in worker.output().lower()
    assert "OperationalError" not in worker.output()


@pytest.mark.quick
def test_worker_death_in_mid_drain_loses_no_event_and_calls_only_in_flight_events_twice(
    deployment: Deployment,
) -> None:
    deployment.web()
    worker = deployment.worker()
    events = generate_events(300)
    held = event_ids(events)[120]
    deployment.hold_at(held)
    assert deployment.post(events) == 200
    deployment.wait_for_call(held)

    worker.kill()
    in_flight = deployment.pending()
    deployment.expire_leases()
    deployment.worker(name="successor")

    deployment.wait_until_received(stored=300)
    calls = deployment.called()
    assert set(calls) == set(event_ids(events))
    assert {event_id for event_id, count in calls.items() if count > 1} <= in_flight
    assert max(calls.values()) <= 2


def test_repeated_worker_deaths_lose_no_event(deployment: Deployment) -> None:
    deployment.web()
    events = generate_events(300)
    for at in range(0, 300, 100):
        held = event_ids(events)[at + 50]
        deployment.hold_at(held)
        worker = deployment.worker(name=f"victim-{at}")
        assert deployment.post(events[at : at + 100]) == 200
        deployment.wait_for_call(held)
        worker.kill()
        deployment.expire_leases()
    deployment.worker(name="survivor")

    deployment.wait_until_received(stored=300)
    assert set(deployment.called()) == set(event_ids(events))


def test_stream_entries_read_before_a_worker_death_are_read_by_another_worker(deployment: Deployment) -> None:
    deployment.web()
    events = generate_events(50)
    assert deployment.post(events) == 200
    with Redis.from_url(deployment.valkey.url(0)) as redis:  # a worker that dies right after its read
        redis.xgroup_create("{sendgrid:events}", "pipeline", id="0")
        redis.xreadgroup("pipeline", "worker", {"{sendgrid:events}": ">"}, count=30)
    deployment.expire_leases()

    deployment.worker()

    deployment.wait_until_received(stored=50)
    assert deployment.called() == once_each(events)


def test_wake_ups_lost_with_the_broker_database_lose_no_event(deployment: Deployment) -> None:
    deployment.web()
    events = generate_events(200)
    for at in range(0, 200, 50):
        assert deployment.post(events[at : at + 50]) == 200
    with Redis.from_url(deployment.valkey.url(1)) as broker:
        broker.flushdb()

    deployment.worker()

    deployment.wait_until_received(stored=200)
    assert deployment.called() == once_each(events)


def test_broker_flushed_under_a_running_worker_loses_no_event(deployment: Deployment) -> None:
    deployment.web()
    deployment.worker()
    events = generate_events(400)
    with Redis.from_url(deployment.valkey.url(1)) as broker:
        for at in range(0, 400, 40):
            assert deployment.post(events[at : at + 40]) == 200
            broker.flushdb()

    deployment.wait_until_received(stored=400)
    assert deployment.called() == once_each(events)


@pytest.mark.parametrize("fault", ["freeze", "kill"])
def test_redis_killed_in_mid_post_answers_503_and_retried_posts_are_taken(
    deployment: Deployment, fault: str
) -> None:
    deployment.web()
    deployment.worker()
    events = generate_events(800)
    posts = [events[at : at + 20] for at in range(0, 800, 20)]
    gone = Flag()

    def post_until_taken(post: list[dict[str, object]]) -> set[int]:
        """As SendGrid does: again, until the answer is 2xx."""
        statuses: set[int] = set()
        while 200 not in statuses:
            statuses.add(deployment.post(post))
            if statuses == {503}:
                gone.set()
        return statuses

    with ThreadPoolExecutor(4) as clients:
        answers = [clients.submit(post_until_taken, post) for post in posts]
        wait_for(
            lambda: sum(answer.done() for answer in answers) >= 5, seconds=PATIENCE, what="some posts taken"
        )
        getattr(deployment.valkey, fault)()
        assert gone.wait(PATIENCE)
        deployment.valkey.thaw() if fault == "freeze" else deployment.valkey.start()
        statuses = set().union(*(answer.result(PATIENCE) for answer in answers))

    assert statuses == {200, 503}
    deployment.wait_until_received(stored=800)
    # A drain the fault cut off between the insert and the stream's delete is repeated: as a duplicate.
    assert deployment.called() == once_each(events)


def test_unreadable_elements_become_dead_letters_and_their_neighbours_are_received(
    deployment: Deployment,
) -> None:
    deployment.web()
    deployment.worker()
    events = generate_events(3)
    junk = [b'"text"', b"17", b"null", b"[[]]", b'{"event": "open", "n": ' + b"[" * 400 + b"]" * 400 + b"}"]

    assert deployment.post([junk[0], events[0], *junk[1:], events[1], events[2]]) == 200
    deployment.wait_until_received(stored=8)

    assert deployment.called() == once_each(events)
    dead = deployment.query("SELECT error FROM events_app_pendingdelivery WHERE state = 'dead'")
    assert len(dead) == 5
    assert all(error for (error,) in dead)


@on_postgres
def test_workers_reconnect_after_postgresql_ends_their_connections(deployment: Deployment) -> None:
    deployment.web()
    deployment.worker()
    events = generate_events(200)
    assert deployment.post(events[:100]) == 200
    deployment.wait_until_received(stored=100)

    deployment.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert deployment.post(events[100:]) == 200

    deployment.wait_until_received(stored=200)
    assert deployment.called() == once_each(events)


def test_a_full_redis_leaves_a_new_worker_room_to_drain_the_stream(deployment: Deployment) -> None:
    deployment.web()
    with Redis.from_url(deployment.valkey.url(0)) as redis:
        redis.config_set("maxmemory", redis.info("memory")["used_memory"] + 5_000_000)
        posts = [generate_events(100, seed) for seed in range(200)]
        taken = list(takewhile(lambda post: deployment.post(post) == 200, posts))
        assert 0 < len(taken) < len(posts)
    with Redis.from_url(deployment.valkey.url(1)) as broker:
        broker.flushdb()

    deployment.worker()

    deployment.wait_until_received(stored=100 * len(taken))
    assert deployment.post(posts[-1]) == 200


def test_a_frozen_broker_on_its_own_server_delays_no_post_beyond_the_timeout(
    servers: Servers, tmp_path: Path, template: DatabaseTemplate
) -> None:
    with Valkey(tmp_path / "broker") as broker:
        deployment = Deployment(tmp_path, *servers, template, CELERY_BROKER_URL=broker.url(0))
        try:
            deployment.web()
            events = generate_events(100)
            assert deployment.post(events[:10]) == 200
            broker.freeze()
            for at in range(10, 100, 10):
                assert deployment.post(events[at : at + 10]) == 200
            broker.thaw()
            deployment.worker()
            deployment.wait_until_received(stored=100)
        finally:
            broker.thaw()
            deployment.stop()


def test_a_backlog_of_large_bodies_does_not_block_later_events(deployment: Deployment) -> None:
    deployment.web()
    padding = b'{"x": ' + b"[" * 700_000
    for _ in range(40):
        assert deployment.post([padding]) == 200
    events = generate_events(20)
    assert deployment.post(events) == 200

    worker = deployment.worker()

    deployment.wait_until_received(stored=21)  # forty times the same bytes are one
    assert deployment.called() == once_each(events)
    assert "the next tick continues" not in worker.output()


@pytest.mark.parametrize("stall", [b"", b"[{"])
def test_clients_that_send_no_body_delay_no_post(deployment: Deployment, stall: bytes) -> None:
    deployment.web()
    head = b"POST /anymail/sendgrid/tracking/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 90000\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(80):
            stranger = stack.enter_context(socket.create_connection(("127.0.0.1", deployment.stack.port)))
            stranger.sendall(head + stall)
        assert deployment.post(generate_events(5)) == 200
