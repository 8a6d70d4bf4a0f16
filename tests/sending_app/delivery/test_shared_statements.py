"""Threads lease mails and record acceptances in shared statements, each mail as if alone."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.db.models import F

from events_app.shared.database import DatabaseUnavailable
from sending_app import account, sql
from sending_app.api.client import SendResult
from sending_app.delivery import circuit_breaker, leases, sender
from sending_app.delivery.leases import LeasedMail
from sending_app.exceptions import Outcome
from sending_app.models import Mail, OpenCircuit
from sending_app.outcome import record
from tests.support.databases import database_away, on_postgresql, plans_without_primary_key
from tests.support.sending.delivery import accepted_outcome, outcome_of, take_lease, write_result
from tests.support.sending.mail_events import event_payload, receive_events, stored_recipients
from tests.support.sending.outbox_mails import all_parts, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

MAIL = Mail.Lane.MAIL


@pytest.fixture(autouse=True)
def key(anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY="SG.fake")


def leased_mails(count: int) -> list[LeasedMail]:
    for _ in range(count):
        put_in_outbox()
    return [take_lease() for _ in range(count)]


def responses(taken: list[LeasedMail]) -> list[tuple[Mail, str]]:
    return [(lease.mail, f"request {number}") for number, lease in enumerate(taken)]


def states() -> list[str]:
    return [part.state for part in all_parts()]


def test_each_task_gets_another_mail(database: str) -> None:
    for _ in range(3):
        put_in_outbox()
    found = leases._lease_for_each(MAIL, ["one", "two", "three"])
    taken = [lease.mail for lease in found if lease]
    assert [mail.task_id for mail in taken] == ["one", "two", "three"]
    assert {mail.pk for mail in taken} == {part.pk for part in all_parts()}
    assert len({mail.attempt_token for mail in taken}) == 3
    assert {part.task_id for part in all_parts()} == {"one", "two", "three"}


def test_tasks_without_a_due_mail_get_none(database: str) -> None:
    put_in_outbox()
    found = leases._lease_for_each(MAIL, ["", "", ""])
    assert [lease.mail.pk for lease in found if lease] == [all_parts()[0].pk]
    assert len(found) == 3


def test_beside_a_probe_other_tasks_get_mails_of_other_accounts(
    database: str, anymail: Callable[..., None]
) -> None:
    anymail(SENDGRID_API_KEY="SG.one", SENDGRID_ACCOUNTS={"news": {"api_key": "SG.news"}})
    for alias in ("default", "default", "news"):
        put_in_outbox(alias=alias)
    circuit_breaker.trip(account.named("default"), SendResult(Outcome.PAUSED, 429, wait=0), is_probe=False)
    circuit = OpenCircuit.objects.all()
    circuit.update(probe_at=circuit.get().opened_at)
    found = leases._lease_for_each(MAIL, ["one", "two", "three"])
    assert [lease and (lease.mail.alias, lease.is_probe) for lease in found] == [
        ("default", True),
        ("news", False),
        None,
    ]


def test_each_acceptance_keeps_its_own_request_id(database: str) -> None:
    taken = leased_mails(3)
    accepted = sql.accept_by_response(database, responses(taken))
    assert accepted == {(lease.mail.pk, lease.mail.attempt_token) for lease in taken}
    rows = {part.pk: part for part in all_parts()}
    assert [rows[lease.mail.pk].x_message_id for lease in taken] == ["request 0", "request 1", "request 2"]
    assert states() == ["accepted"] * 3


@on_postgresql
def test_an_acceptance_never_reads_the_index_of_posting_mails(database: str) -> None:
    """PostgreSQL would prefer it, with all mails posted since the last vacuum in it."""
    taken = leased_mails(2)
    plans = plans_without_primary_key(
        database, "sending_app_mail", lambda: sql.accept_by_response(database, responses(taken))
    )
    assert states() == ["accepted"] * 2
    assert "mail_posting" not in plans


@on_postgresql
@pytest.mark.parametrize("outcome", [Outcome.RETRY, Outcome.UNKNOWN, Outcome.FAILED])
def test_other_results_never_read_the_index_of_posting_mails(database: str, outcome: Outcome) -> None:
    (taken,) = leased_mails(1)
    plans = plans_without_primary_key(
        database, "sending_app_mail", lambda: write_result(taken, outcome_of(outcome))
    )
    assert states() != ["posting"]
    assert "mail_posting" not in plans


def test_of_two_attempts_of_a_mail_only_the_last_one_accepts_it(database: str) -> None:
    (first,) = leased_mails(1)
    Mail.objects.update(state=Mail.State.WAITING, due=F("created_at"))
    second = take_lease()
    assert second.mail.pk == first.mail.pk
    assert record._accept_by_response(responses([first, second])) == [False, True]


def test_a_failed_lease_leaves_no_probe_behind(
    database: str, anymail: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    anymail(SENDGRID_API_KEY="SG.one", SENDGRID_ACCOUNTS={"news": {"api_key": "SG.news"}})
    for alias in ("default", "news"):
        put_in_outbox(alias=alias)
    circuit_breaker.trip(account.named("default"), SendResult(Outcome.PAUSED, 429, wait=0), is_probe=False)
    circuit = OpenCircuit.objects.all()
    circuit.update(probe_at=circuit.get().opened_at)
    lease_mails = sql.lease_mails

    def fail_after_a_probe(*arguments: Any, **options: Any) -> Any:
        if any(one.state == "posting" for one in all_parts()):
            raise OperationalError
        return lease_mails(*arguments, **options)

    monkeypatch.setattr(sql, "lease_mails", fail_after_a_probe)
    with pytest.raises(OperationalError):
        leases._lease_for_each(MAIL, ["one", "two"])
    assert states() == ["waiting"] * 2


def test_a_mail_of_a_newer_attempt_or_with_proof_is_left_out(database: str) -> None:
    older, proven, usual = leased_mails(3)
    Mail.objects.filter(pk=older.mail.pk).update(attempt_token=1)
    (recipient,) = (one for one in stored_recipients() if one.mail_id == proven.mail.pk)
    receive_events(event_payload("processed", recipient))
    accepted = sql.accept_by_response(database, responses([older, proven, usual]))
    assert accepted == {(usual.mail.pk, usual.mail.attempt_token)}


@on_postgresql
def test_a_locked_mail_delays_no_other_acceptance(database: str) -> None:
    locked, free = leased_mails(2)
    with closing(connections.create_connection(database)) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT 1 FROM sending_app_mail WHERE id = %s FOR UPDATE", [locked.mail.pk])
        accepted = sql.accept_by_response(database, responses([locked, free]))
        assert accepted == {(free.mail.pk, free.mail.attempt_token)}
        cursor.execute("ROLLBACK")
    record.record_result(locked.mail, accepted_outcome("request 0"))
    assert states() == ["accepted"] * 2


def test_results_of_threads_wait_for_the_database(database: str) -> None:
    taken = leased_mails(4)
    together = Barrier(4)

    def write(lease: LeasedMail) -> None:
        together.wait()
        try:
            with pytest.raises(DatabaseUnavailable):
                write_result(lease, accepted_outcome())
        finally:
            connections.close_all()

    with database_away(database), ThreadPoolExecutor(4) as pool:
        list(pool.map(write, taken))
    assert states() == ["posting"] * 4
    sender.unwritten.flush()
    assert states() == ["accepted"] * 4
