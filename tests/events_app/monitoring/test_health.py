"""The health URLs say in plain words what is wrong, and 503 only when no post can be taken."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings

from devstack.valkey import Valkey
from events_app import stream, tasks
from events_app.monitoring import health
from events_app.shared import redis
from tests.support.databases import database_away
from tests.support.redis_users import url_without_commands
from tests.support.sending.django_mail import QUEUED, use_backend
from tests.support.workers import record_worker

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

NOWHERE = "redis://:a-password@127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    health.latest.forget()
    yield
    health.latest.forget()


def ask(path: str = "/readyz", **headers: str) -> tuple[int, list[str]]:
    response = Client().get(path, headers=headers)
    return response.status_code, response.content.decode().splitlines()


@pytest.mark.django_db(databases=[])
def test_livez_asks_no_server(anymail: Callable[..., None]) -> None:
    anymail(EVENT_REDIS_URL=NOWHERE)
    assert ask("/livez") == (200, ["ok"])


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_monitors_ask_by_any_host_and_over_http(settings: Settings, path: str) -> None:
    settings.ALLOWED_HOSTS, settings.SECURE_SSL_REDIRECT = ["example.com"], True
    response = Client().get(path, headers={"host": "10.1.2.3:8000"})
    assert (response.status_code, response["Content-Type"]) == (200, "text/plain")
    assert "no-store" in response["Cache-Control"]
    assert not response.cookies
    assert Client().post(path).status_code == 405
    assert Client().get("/anymail/livez", headers={"host": "10.1.2.3:8000"}).status_code == 400


def test_an_unusable_setting_takes_no_posts(anymail: Callable[..., None]) -> None:
    anymail(DEDUPE_BY="a-secret")
    status, lines = ask()
    assert status == 503
    says = "error: Unusable settings: ANYMAIL['DEDUPE_BY']. Run manage.py check: it says what is wrong with"
    assert f"{says} each." in lines
    assert "a-secret" not in "".join(lines)


def test_all_is_well(database: str, settings: Settings) -> None:
    use_backend(settings, QUEUED)
    record_worker()
    tasks.record_beat()
    stream.append("tracking", [b"{}"])
    status, lines = ask()
    assert (status, {line.partition(":")[0] for line in lines}) == (200, {"ok", "advice"})
    assert "ok: Waiting in Redis, to be stored: 1" in lines
    assert "ok: 1 worker takes mails: queue sendgrid.mail." in lines
    assert lines[-2:] == ["ok: Redis answers.", "ok: The database answers."]


def test_without_workers_and_beat_posts_are_taken_and_wait(database: str) -> None:
    status, lines = ask()
    assert status == 200
    assert any(line.startswith("warning: No tick of beat's has ever come") for line in lines)
    assert (
        "error: No worker takes new events: queue sendgrid.events. Start a worker with -Q sendgrid.events. "
        "Until then this work waits." in lines
    )


def test_without_the_database_posts_are_taken_and_wait(database: str) -> None:
    with database_away(database):
        status, lines = ask()
    assert status == 200
    says = "error: The database does not answer. Start it, and look at DATABASES. Events wait in Redis until"
    assert f"{says} then." in lines


def test_without_redis_no_post_is_taken(database: str, anymail: Callable[..., None]) -> None:
    anymail(EVENT_REDIS_URL=NOWHERE)
    status, lines = ask()
    assert status == 503
    assert lines[0] == (
        "error: Redis does not answer. Start it, and look at EVENT_REDIS_URL. "
        "Until then the webhook answers 503."
    )
    assert "ok: The database answers." in lines
    for secret in ("a-password", "127.0.0.1", "Error 111"):
        assert secret not in "".join(lines)


def test_a_redis_that_forbids_a_question_takes_posts(
    database: str, anymail: Callable[..., None], tmp_path: Path
) -> None:
    with Valkey(tmp_path) as valkey:
        anymail(EVENT_REDIS_URL=valkey.url(0))
        anymail(EVENT_REDIS_URL=url_without_commands(valkey.url(0), "hgetall", "info"))
        stream.append("tracking", [b"{}"])
        status, lines = ask()
    assert status == 200
    advice = "Allow the command to the user of the URL. docs/redis.md has all that are needed."
    assert f"error: A fact could not be read. {advice}" in lines
    assert "ok: Redis answers." in lines


def test_a_flood_of_requests_gathers_once_a_second(
    database: str, anymail: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health.latest, "_kept", 3600.0)
    first = ask()
    anymail(EVENT_REDIS_URL=NOWHERE)
    assert ask() == first
    health.latest.forget()
    assert ask()[0] == 503


def test_a_request_does_not_wait_for_another_one_that_gathers(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health.latest, "_kept", -1.0)
    first = ask()
    with health.latest._lock:
        assert ask() == first


def test_a_full_redis_is_told(database: str, anymail: Callable[..., None], tmp_path: Path) -> None:
    with Valkey(tmp_path) as valkey:
        anymail(EVENT_REDIS_URL=valkey.url(0))
        server = redis.for_workers()
        server.config_set("maxmemory", int(server.info("memory")["used_memory"] / 0.95))
        status, lines = ask()
    assert status == 200
    (line,) = [line for line in lines if "maxmemory" in line]
    assert line.startswith("error: The Redis of EVENT_REDIS_URL: ")
    assert "Posts get 503. Does a worker store the events?" in line


def test_a_frozen_redis_is_told_in_time(database: str, anymail: Callable[..., None], tmp_path: Path) -> None:
    with Valkey(tmp_path) as valkey:
        anymail(EVENT_REDIS_URL=valkey.url(0))
        assert ask()[0] == 200
        health.latest.forget()
        valkey.freeze()
        status, lines = ask()
        valkey.thaw()
    assert (status, lines[0][:28]) == (503, "error: Redis does not answer")
