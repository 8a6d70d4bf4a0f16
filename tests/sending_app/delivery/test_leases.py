"""A due mail is leased to a single worker, for as long as a post can take."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from threading import Barrier

import pytest
from celery import Celery
from django.db import connections
from pytest_django import Settings

from events_app.shared.database import database_now
from sending_app import account
from sending_app.account import Account
from sending_app.api.client import SendResult
from sending_app.delivery import circuit_breaker, leases
from sending_app.delivery.leases import LeasedMail
from sending_app.exceptions import Outcome
from sending_app.models import Mail, OpenCircuit
from tests.support.databases import on_postgresql
from tests.support.sending.outbox_mails import all_parts, mail, only_part, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

MAIL, BULK = Mail.Lane.MAIL, Mail.Lane.BULK


@pytest.fixture(autouse=True)
def key(anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY="SG.one")


@pytest.fixture
def two_mailers(settings: Settings) -> None:
    """Two mailers of a project, with different keys."""
    settings.MAILERS = {
        "default": {"BACKEND": "sending_app.backends.queued.EmailBackend"},
        "news": {
            "BACKEND": "sending_app.backends.queued.EmailBackend",
            "OPTIONS": {"api_key": "SG.news", "timeout": (1, 2)},
        },
    }


def take(lane: Mail.Lane = MAIL) -> LeasedMail:
    taken = leases.acquire(lane)
    assert taken
    return taken


def pause(one: Account) -> None:
    circuit_breaker.trip(one, SendResult(Outcome.PAUSED, 429), is_probe=False)


def let_it_be_over(one: Account) -> None:
    row = OpenCircuit.objects.filter(account=one.fingerprint)
    row.update(probe_at=row.get().opened_at - timedelta(seconds=1))


def make_due_in(seconds: float, *which: Mail) -> None:
    now = database_now(Mail.objects.db)
    for one in which:
        Mail.objects.filter(pk=one.pk).update(due=now + timedelta(seconds=seconds))


def test_a_taken_mail_is_leased_until_the_lease_expires(database: str) -> None:
    put_in_outbox()
    before = database_now(database)
    taken = take()
    row = only_part()
    after = database_now(database)
    assert taken.mail.pk == row.pk
    assert (row.state, row.attempts, row.unknown_outcomes) == ("posting", 1, 0)
    assert row.attempt_token == taken.mail.attempt_token
    assert row.attempted_at is not None
    assert before <= row.attempted_at <= after
    assert row.due == row.attempted_at + leases.lease_time(taken.account)
    assert row.account == taken.account.fingerprint
    assert (taken.account, taken.is_probe) == (account.named("default"), False)
    assert taken.mail.message.content is not None
    assert leases.acquire(MAIL) is None


def test_each_attempt_has_a_unique_lease_token(database: str) -> None:
    put_in_outbox()
    tokens = set()
    for _ in range(5):
        tokens.add(take().mail.attempt_token)
        Mail.objects.update(state="waiting", due=only_part().created_at)
    assert len(tokens) == 5
    assert all(token and 0 < token < 2**63 for token in tokens)
    assert only_part().attempts == 5


def test_a_lease_is_longer_than_the_request_timeouts() -> None:
    one = Account("default", "k", "u", (10.0, 30.0))
    assert leases.lease_time(one) > timedelta(seconds=2 * 40)


def test_the_longest_due_mail_is_taken_first(database: str) -> None:
    for _ in range(4):
        put_in_outbox()
    first, second, third, later = all_parts()
    make_due_in(-10, first)
    make_due_in(-30, second)
    make_due_in(-20, third)
    make_due_in(30, later)
    taken = [take().mail.pk for _ in range(3)]
    assert taken == [second.pk, third.pk, first.pk]
    assert leases.acquire(MAIL) is None
    assert not leases.any_mail_due(MAIL)


@pytest.mark.parametrize("state", [one for one in Mail.State if one is not Mail.State.WAITING])
def test_only_waiting_mails_are_taken(database: str, state: Mail.State) -> None:
    put_in_outbox()
    Mail.objects.update(state=state)
    assert not leases.any_mail_due(MAIL)
    assert leases.acquire(MAIL) is None


def test_each_lane_takes_only_its_own_mails(database: str) -> None:
    put_in_outbox(mail("ann@example.com", "bob@example.com", batch=True), bulk_above=1)
    assert (leases.any_mail_due(MAIL), leases.any_mail_due(BULK)) == (False, True)
    assert leases.acquire(MAIL) is None
    assert take(BULK).mail.pk == only_part().pk


# Accounts


@pytest.mark.usefixtures("two_mailers")
def test_each_mail_is_taken_with_the_account_of_its_mailer(database: str) -> None:
    put_in_outbox(alias="news")
    put_in_outbox()
    taken = {take().account for _ in range(2)}
    assert {(one.alias, one.api_key) for one in taken} == {("default", "SG.one"), ("news", "SG.news")}


def test_each_mail_is_taken_with_the_account_of_its_name(database: str, anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY="SG.one", SENDGRID_ACCOUNTS={"news": {"api_key": "SG.news"}})
    put_in_outbox(alias="news")
    put_in_outbox()
    taken = {take().account for _ in range(2)}
    assert {(one.alias, one.api_key) for one in taken} == {("default", "SG.one"), ("news", "SG.news")}


def test_mails_of_a_mailer_without_settings_are_not_taken(
    database: str, anymail: Callable[..., None], settings: Settings
) -> None:
    put_in_outbox(alias="gone")
    assert not leases.any_mail_due(MAIL)
    assert leases.acquire(MAIL) is None
    put_in_outbox()
    assert take().mail.alias == "default"
    anymail(SENDGRID_API_KEY=None)
    put_in_outbox()
    assert not leases.any_mail_due(MAIL)
    assert leases.acquire(MAIL) is None
    assert sorted(one.state for one in all_parts()) == ["posting", "waiting", "waiting"]


@pytest.mark.usefixtures("two_mailers")
def test_mails_of_an_account_with_an_open_circuit_breaker_are_skipped(database: str) -> None:
    put_in_outbox()
    put_in_outbox(alias="news")
    pause(account.named("default"))
    assert leases.any_mail_due(MAIL)
    assert take().mail.alias == "news"
    assert not leases.any_mail_due(MAIL)
    assert leases.acquire(MAIL) is None


def test_a_half_open_circuit_breaker_allows_one_probe(database: str) -> None:
    for _ in range(3):
        put_in_outbox()
    one = account.named("default")
    pause(one)
    let_it_be_over(one)
    assert leases.any_mail_due(MAIL)
    assert take().is_probe
    assert not leases.any_mail_due(MAIL)
    assert leases.acquire(MAIL) is None
    circuit_breaker.close_circuit(one)
    assert [take().is_probe for _ in range(2)] == [False, False]


def test_a_half_open_circuit_breaker_without_due_mails_is_not_probed(database: str) -> None:
    put_in_outbox()
    make_due_in(60, only_part())
    one = account.named("default")
    pause(one)
    let_it_be_over(one)
    assert leases.acquire(MAIL) is None
    assert circuit_breaker.open_circuits() == {one.fingerprint: True}


def test_a_new_api_key_is_not_blocked_by_the_circuit_breaker_of_the_old_one(
    database: str, anymail: Callable[..., None]
) -> None:
    put_in_outbox()
    pause(account.named("default"))
    assert leases.acquire(MAIL) is None
    anymail(SENDGRID_API_KEY="SG.new")
    assert take().account.api_key == "SG.new"


def test_only_one_of_many_workers_probes_a_half_open_circuit_breaker(database: str) -> None:
    for _ in range(8):
        put_in_outbox()
    one = account.named("default")
    pause(one)
    let_it_be_over(one)
    taken = [found for found in at_once(4, lambda: [leases.acquire(MAIL)]) if found]
    assert [found.is_probe for found in taken] == [True]


@pytest.mark.usefixtures("two_mailers")
@on_postgresql
def test_a_worker_whose_probe_mail_is_locked_takes_another_due_mail(
    database: str,
) -> None:
    put_in_outbox()
    put_in_outbox(alias="news")
    one = account.named("default")
    pause(one)
    let_it_be_over(one)
    with locked(database, all_parts()[0]):
        assert take().mail.alias == "news"


# Many workers


def at_once(workers: int, work: Callable[[], list[LeasedMail | None]]) -> list[LeasedMail | None]:
    together = Barrier(workers)

    def run(_: int) -> list[LeasedMail | None]:
        together.wait()
        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(workers) as pool:
        return [found for each in pool.map(run, range(workers)) for found in each]


def test_concurrent_workers_never_lease_the_same_mail(database: str) -> None:
    for _ in range(30):
        put_in_outbox()

    def work() -> list[LeasedMail | None]:
        found: list[LeasedMail | None] = []
        while taken := leases.acquire(MAIL):
            found.append(taken)
        return found

    taken = [found.mail.pk for found in at_once(4, work) if found]
    # Each may have passed over what another was just about to take.
    taken += [found.mail.pk for found in work() if found]
    assert sorted(taken) == [one.pk for one in all_parts()]
    assert {one.attempts for one in all_parts()} == {1}


@contextmanager
def locked(database: str, one: Mail) -> Iterator[None]:
    with closing(connections.create_connection(database)) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT 1 FROM sending_app_mail WHERE id = %s FOR UPDATE", [one.pk])
        yield
        cursor.execute("ROLLBACK")  # answered once the lock is gone, as a hang-up is not


@on_postgresql
def test_a_locked_mail_is_skipped_without_waiting(database: str) -> None:
    put_in_outbox()
    put_in_outbox()
    first, second = all_parts()
    with locked(database, first):
        assert take().mail.pk == second.pk
        assert leases.acquire(MAIL) is None
    assert take().mail.pk == first.pk


def test_a_due_time_in_another_form_of_sqlite_is_leased() -> None:
    put_in_outbox()
    with connections["default"].cursor() as cursor:
        cursor.execute("UPDATE sending_app_mail SET due = strftime('%Y-%m-%d %H:%M:%f', 'now', '-1 minute')")
    assert take().mail.pk == only_part().pk


def test_a_leased_mail_names_the_task_of_its_worker(database: str) -> None:
    put_in_outbox()
    app = Celery(set_as_current=False)

    @app.task(name="shop.take")
    def lease() -> None:
        take()

    assert only_part().task_id == ""
    assert lease.apply().id == only_part().task_id
