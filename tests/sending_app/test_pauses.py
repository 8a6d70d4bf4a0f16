"""An account is left alone for as long as SendGrid asks, by all workers, and tried by one of them then."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Barrier

import pytest
from django.db import connections

from events_app.models import database_now
from sending_app import account, client, pauses, settlement
from sending_app.account import Account
from sending_app.client import Outcome, Verdict
from sending_app.models import Pause
from tests.support.http_server import Serve, answering, response

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

KEY = "SG.a-key-that-nobody-may-see"


def paused(wait: float | None = None, status: int = 429, detail: str = "too many requests") -> Outcome:
    return Outcome(Verdict.PAUSED, status, detail=detail, wait=wait)


@pytest.fixture
def one() -> Account:
    return Account("default", KEY, "https://api.sendgrid.com/v3/", (10.0, 30.0))


def pause() -> Pause:
    return Pause.objects.get()


def be_over() -> None:
    Pause.objects.update(until=pause().since - timedelta(seconds=1))


def test_a_pause_shuts_the_account_until_its_time_is_over(database: str, one: Account) -> None:
    assert pauses.shut() == {}
    pauses.begin(one, paused(), trying=False)
    assert pauses.shut() == {one.fingerprint: False}
    be_over()
    assert pauses.shut() == {one.fingerprint: True}
    pauses.end(one)
    assert pauses.shut() == {}
    pauses.end(one)


@pytest.mark.parametrize("wait", [2.5, 42, 599])
def test_it_never_ends_before_sendgrids_time_and_soon_after(database: str, one: Account, wait: float) -> None:
    before = database_now(database)
    length = pauses.begin(one, paused(wait), trying=False)
    asked = timedelta(seconds=wait)
    assert asked <= length <= asked + timedelta(seconds=1)
    assert before + asked <= pause().until <= database_now(database) + length


def test_it_is_no_longer_than_ten_minutes_whatever_sendgrid_says(database: str, one: Account) -> None:
    for _ in range(14):
        assert pauses.begin(one, paused(86400), trying=True) <= timedelta(seconds=601)
        assert pauses.begin(one, paused(None, 401), trying=True) <= timedelta(seconds=601)


def test_each_try_in_vain_doubles_it(database: str, one: Account) -> None:
    lengths = [pauses.begin(one, paused(status=401), trying=False)]
    lengths += [pauses.begin(one, paused(status=401), trying=True) for _ in range(6)]
    asked = [15, 30, 60, 120, 240, 480, 600]
    assert [int(length.total_seconds()) for length in lengths] == pytest.approx(asked, abs=1)
    assert pause().failures == 7


def test_of_keys_that_no_mailer_has_it_goes_when_it_is_over_by_more_than_a_day(
    database: str, one: Account, anymail: Callable[..., None]
) -> None:
    anymail(SENDGRID_API_KEY=KEY)
    old, older = (replace(one, api_key=f"SG.{name}") for name in ("old", "older"))
    for each in (one, old, older):
        pauses.begin(each, paused(), trying=False)
    now = database_now(database)
    Pause.objects.update(until=now - timedelta(days=2))
    Pause.objects.filter(account=old.fingerprint).update(until=now - timedelta(hours=23))
    assert settlement.settle() == {}
    assert pauses.shut().keys() == {one.fingerprint, old.fingerprint}


def test_of_many_that_were_on_their_way_one_counts_and_the_longest_holds(database: str, one: Account) -> None:
    pauses.begin(one, paused(300), trying=False)
    since, until = pause().since, pause().until
    for wait in (None, 5, 200):
        pauses.begin(one, paused(wait), trying=False)
    assert (pause().since, pause().until, pause().failures) == (since, until, 1)
    pauses.begin(one, paused(500), trying=False)
    assert pause().until > until
    assert pause().failures == 1


def test_many_at_once_begin_one_pause_that_is_the_longest(database: str, one: Account) -> None:
    together = Barrier(4)

    def begin(wait: int) -> timedelta:
        together.wait()
        try:
            return pauses.begin(one, paused(wait), trying=False)
        finally:
            connections.close_all()

    before = database_now(database)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(begin, [10, 500, 20, 30]))
    assert pause().failures == 1
    assert pause().until >= before + timedelta(seconds=500)


def test_of_many_workers_one_tries_it(database: str, one: Account) -> None:
    pauses.begin(one, paused(), trying=False)
    assert not pauses.may_try(one)
    be_over()
    together = Barrier(4)

    def may_try(_: int) -> bool:
        together.wait()
        try:
            return pauses.may_try(one)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(may_try, range(4))) == 1
    assert pauses.shut() == {one.fingerprint: False}


def test_where_who_tries_it_is_never_heard_of_again_another_does(database: str, one: Account) -> None:
    pauses.begin(one, paused(), trying=False)
    be_over()
    before = database_now(database)
    assert pauses.may_try(one)
    assert pause().until >= before + timedelta(seconds=sum(one.timeout))
    assert not pauses.may_try(one)
    be_over()
    assert pauses.may_try(one)


def test_without_a_pause_there_is_nothing_to_try(database: str, one: Account) -> None:
    assert not pauses.may_try(one)


def test_a_new_key_begins_without_one(database: str, one: Account) -> None:
    pauses.begin(one, paused(), trying=False)
    for other in (
        Account("default", "SG.another", one.api_url, one.timeout),
        Account("default", KEY, "https://api.eu.sendgrid.com/v3/", one.timeout),
    ):
        assert other.fingerprint not in pauses.shut()
        pauses.end(other)
    assert one.fingerprint in pauses.shut()


def test_who_shares_a_key_shares_its_pause(database: str, one: Account) -> None:
    other = Account("news", KEY, one.api_url, (1.0, 2.0))
    pauses.begin(one, paused(), trying=False)
    assert other.fingerprint in pauses.shut()
    pauses.begin(other, paused(), trying=False)
    assert Pause.objects.count() == 1
    pauses.end(other)
    assert not Pause.objects.exists()


def test_sendgrids_last_words_are_kept_as_a_database_takes_them(database: str, one: Account) -> None:
    pauses.begin(one, paused(status=401, detail="The provided key\0 is \ud800 expired"), trying=False)
    assert (pause().status_code, pause().reason) == (401, "The provided key is \ufffd expired")
    pauses.begin(one, paused(status=403, detail="access forbidden"), trying=True)
    assert (pause().status_code, pause().reason) == (403, "access forbidden")
    assert str(pause()) == "pause of default"


def test_a_server_that_says_the_key_makes_nobody_else_say_it(
    database: str, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(answering(response(401, f'{{"errors": [{{"message": "no such key: {KEY}"}}]}}'.encode())))
    mine = Account("default", KEY, server.url, (5.0, 5.0))
    outcome = client.post(mine, b"{}")
    assert outcome.verdict is Verdict.PAUSED
    pauses.begin(mine, outcome, trying=False)
    assert pause().reason == "no such key: (the key)"
    everything = [repr(mine), repr(outcome), repr(vars(pause())), caplog.text, mine.fingerprint]
    assert not [text for text in everything if KEY in text]


@pytest.mark.parametrize("status", [429, 401, 403])
def test_a_wait_is_a_warning_and_a_refusal_an_alert(
    database: str, one: Account, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    pauses.begin(one, paused(status=status), trying=False)
    (record,) = caplog.records
    assert record.levelno == (logging.WARNING if status == 429 else logging.ERROR)
    assert ("API key" in record.getMessage()) == (status != 429)


def test_its_end_is_said_once(database: str, one: Account, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    pauses.begin(one, paused(), trying=False)
    caplog.clear()
    pauses.end(one)
    pauses.end(one)
    assert caplog.messages == ["SendGrid takes the mails of the mailer 'default' again"]


def test_times_are_spread(database: str, one: Account) -> None:
    lengths: set[timedelta] = {pauses.begin(one, paused(100), trying=True) for _ in range(5)}
    assert len(lengths) == 5


def test_the_settings_of_the_project_make_an_account(database: str, anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY=KEY)
    pauses.begin(account.named("default"), paused(), trying=False)
    assert pause().account == account.named("default").fingerprint
    assert isinstance(pause().until, datetime)
