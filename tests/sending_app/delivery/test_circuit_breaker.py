"""No worker posts to an account with an open circuit; a single worker probes a half-open circuit."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Barrier

import pytest
from django.db import connections

from events_app.shared.database import database_now
from sending_app import account
from sending_app.account import Account
from sending_app.api import client
from sending_app.api.client import SendResult
from sending_app.delivery import circuit_breaker, reconcile
from sending_app.exceptions import Outcome
from sending_app.models import OpenCircuit
from tests.support.http_server import Serve, answering, response

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

KEY = "SG.a-key-that-nobody-may-see"


def paused(wait: float | None = None, status: int = 429, detail: str = "too many requests") -> SendResult:
    return SendResult(Outcome.PAUSED, status, detail=detail, wait=wait)


@pytest.fixture
def one() -> Account:
    return Account("default", KEY, "https://api.sendgrid.com/v3/", (10.0, 30.0))


def pause() -> OpenCircuit:
    return OpenCircuit.objects.get()


def be_over() -> None:
    OpenCircuit.objects.update(probe_at=pause().opened_at - timedelta(seconds=1))


def test_an_open_circuit_breaker_becomes_half_open_and_closes(database: str, one: Account) -> None:
    assert circuit_breaker.open_circuits() == {}
    circuit_breaker.trip(one, paused(), is_probe=False)
    assert circuit_breaker.open_circuits() == {one.fingerprint: False}
    be_over()
    assert circuit_breaker.open_circuits() == {one.fingerprint: True}
    circuit_breaker.close_circuit(one)
    assert circuit_breaker.open_circuits() == {}
    circuit_breaker.close_circuit(one)


@pytest.mark.parametrize("wait", [2.5, 42, 599])
def test_an_open_circuit_breaker_lasts_at_least_as_long_as_sendgrid_asks(
    database: str, one: Account, wait: float
) -> None:
    before = database_now(database)
    length = circuit_breaker.trip(one, paused(wait), is_probe=False)
    asked = timedelta(seconds=wait)
    assert asked <= length <= asked + timedelta(seconds=1)
    assert before + asked <= pause().probe_at <= database_now(database) + length


def test_an_open_circuit_breaker_lasts_at_most_ten_minutes(database: str, one: Account) -> None:
    for _ in range(14):
        assert circuit_breaker.trip(one, paused(86400), is_probe=True) <= timedelta(seconds=601)
        assert circuit_breaker.trip(one, paused(None, 401), is_probe=True) <= timedelta(seconds=601)


def test_each_failed_probe_doubles_the_backoff(database: str, one: Account) -> None:
    lengths = [circuit_breaker.trip(one, paused(status=401), is_probe=False)]
    lengths += [circuit_breaker.trip(one, paused(status=401), is_probe=True) for _ in range(6)]
    asked = [15, 30, 60, 120, 240, 480, 600]
    assert [int(length.total_seconds()) for length in lengths] == pytest.approx(asked, abs=1)
    assert pause().failures == 7


def test_circuit_breakers_of_unused_keys_are_removed_after_a_day(
    database: str, one: Account, anymail: Callable[..., None]
) -> None:
    anymail(SENDGRID_API_KEY=KEY)
    old, older = (replace(one, api_key=f"SG.{name}") for name in ("old", "older"))
    for each in (one, old, older):
        circuit_breaker.trip(each, paused(), is_probe=False)
    now = database_now(database)
    OpenCircuit.objects.update(probe_at=now - timedelta(days=2))
    OpenCircuit.objects.filter(account=old.fingerprint).update(probe_at=now - timedelta(hours=23))
    assert reconcile.reconcile_all() == {}
    assert circuit_breaker.open_circuits().keys() == {one.fingerprint, old.fingerprint}


def test_concurrent_refusals_count_once_and_keep_the_longest_wait(database: str, one: Account) -> None:
    circuit_breaker.trip(one, paused(300), is_probe=False)
    since, until = pause().opened_at, pause().probe_at
    for wait in (None, 5, 200):
        circuit_breaker.trip(one, paused(wait), is_probe=False)
    assert (pause().opened_at, pause().probe_at, pause().failures) == (since, until, 1)
    circuit_breaker.trip(one, paused(500), is_probe=False)
    assert pause().probe_at > until
    assert pause().failures == 1


def test_concurrent_workers_open_one_circuit_breaker_with_the_longest_wait(
    database: str, one: Account
) -> None:
    together = Barrier(4)

    def begin(wait: int) -> timedelta:
        together.wait()
        try:
            return circuit_breaker.trip(one, paused(wait), is_probe=False)
        finally:
            connections.close_all()

    before = database_now(database)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(begin, [10, 500, 20, 30]))
    assert pause().failures == 1
    assert pause().probe_at >= before + timedelta(seconds=500)


def test_only_one_of_many_workers_may_probe(database: str, one: Account) -> None:
    circuit_breaker.trip(one, paused(), is_probe=False)
    assert not circuit_breaker.start_probe(one)
    be_over()
    together = Barrier(4)

    def may_try(_: int) -> bool:
        together.wait()
        try:
            return circuit_breaker.start_probe(one)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(may_try, range(4))) == 1
    assert circuit_breaker.open_circuits() == {one.fingerprint: False}


def test_a_lost_probe_is_followed_by_another(database: str, one: Account) -> None:
    circuit_breaker.trip(one, paused(), is_probe=False)
    be_over()
    before = database_now(database)
    assert circuit_breaker.start_probe(one)
    assert pause().probe_at >= before + timedelta(seconds=sum(one.timeout))
    assert not circuit_breaker.start_probe(one)
    be_over()
    assert circuit_breaker.start_probe(one)


def test_a_closed_circuit_breaker_allows_no_probe(database: str, one: Account) -> None:
    assert not circuit_breaker.start_probe(one)


def test_a_new_api_key_has_a_closed_circuit_breaker(database: str, one: Account) -> None:
    circuit_breaker.trip(one, paused(), is_probe=False)
    for other in (
        Account("default", "SG.another", one.api_url, one.timeout),
        Account("default", KEY, "https://api.eu.sendgrid.com/v3/", one.timeout),
    ):
        assert other.fingerprint not in circuit_breaker.open_circuits()
        circuit_breaker.close_circuit(other)
    assert one.fingerprint in circuit_breaker.open_circuits()


def test_mailers_with_one_api_key_share_its_circuit_breaker(database: str, one: Account) -> None:
    other = Account("news", KEY, one.api_url, (1.0, 2.0))
    circuit_breaker.trip(one, paused(), is_probe=False)
    assert other.fingerprint in circuit_breaker.open_circuits()
    circuit_breaker.trip(other, paused(), is_probe=False)
    assert OpenCircuit.objects.count() == 1
    circuit_breaker.close_circuit(other)
    assert not OpenCircuit.objects.exists()


def test_the_cleaned_error_text_of_sendgrid_is_recorded(database: str, one: Account) -> None:
    circuit_breaker.trip(
        one, paused(status=401, detail="The provided key\0 is \ud800 expired"), is_probe=False
    )
    assert (pause().status_code, pause().reason) == (401, "The provided key is \ufffd expired")
    circuit_breaker.trip(one, paused(status=403, detail="access forbidden"), is_probe=True)
    assert (pause().status_code, pause().reason) == (403, "access forbidden")
    assert str(pause()) == "paused account of the mailer default"


def test_an_api_key_echoed_by_the_server_is_redacted(
    database: str, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(answering(response(401, f'{{"errors": [{{"message": "no such key: {KEY}"}}]}}'.encode())))
    mine = Account("default", KEY, server.url, (5.0, 5.0))
    result = client.post(mine, b"{}")
    assert result.outcome is Outcome.PAUSED
    circuit_breaker.trip(mine, result, is_probe=False)
    assert pause().reason == "no such key: (the key)"
    everything = [repr(mine), repr(result), repr(vars(pause())), caplog.text, mine.fingerprint]
    assert not [text for text in everything if KEY in text]


@pytest.mark.parametrize("status", [429, 401, 403])
def test_a_rate_limit_is_logged_as_a_warning_and_a_refused_key_as_an_error(
    database: str, one: Account, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    circuit_breaker.trip(one, paused(status=status), is_probe=False)
    (record,) = caplog.records
    assert record.levelno == (logging.WARNING if status == 429 else logging.ERROR)
    assert ("API key" in record.getMessage()) == (status != 429)


def test_closing_the_circuit_breaker_is_logged_once(
    database: str, one: Account, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    circuit_breaker.trip(one, paused(), is_probe=False)
    caplog.clear()
    circuit_breaker.close_circuit(one)
    circuit_breaker.close_circuit(one)
    assert caplog.messages == ["SendGrid accepts mails of the mailer 'default' again"]


def test_waits_of_a_circuit_breaker_have_jitter(database: str, one: Account) -> None:
    lengths: set[timedelta] = {circuit_breaker.trip(one, paused(100), is_probe=True) for _ in range(5)}
    assert len(lengths) == 5


def test_a_circuit_breaker_is_stored_under_the_fingerprint_of_the_account(
    database: str, anymail: Callable[..., None]
) -> None:
    anymail(SENDGRID_API_KEY=KEY)
    circuit_breaker.trip(account.named("default"), paused(), is_probe=False)
    assert pause().account == account.named("default").fingerprint
    assert isinstance(pause().probe_at, datetime)


def test_an_operator_lets_a_worker_probe_now(database: str, one: Account) -> None:
    circuit_breaker.trip(one, paused(), is_probe=False)
    assert list(circuit_breaker.waiting_circuits([one.fingerprint, "other"])) == [pause()]
    assert circuit_breaker.probe_now([one.fingerprint]) == {"probed": 1}
    assert circuit_breaker.open_circuits() == {one.fingerprint: True}
    assert circuit_breaker.start_probe(one)
    OpenCircuit.objects.update(probe_at=database_now(database))
    assert circuit_breaker.probe_now([one.fingerprint]) == {"probed": 0}
