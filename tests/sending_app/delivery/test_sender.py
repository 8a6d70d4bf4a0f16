"""Due mails are posted, and results are recorded, at once or when the database is back."""

import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from threading import Barrier
from typing import Any

import pytest
import requests
from celery.exceptions import SoftTimeLimitExceeded
from django.db import OperationalError, connections

from events_app.shared.database import DatabaseUnavailable, database_now
from fake_sendgrid import responses
from fake_sendgrid.rules.fault import Fault
from fake_sendgrid.server import FakeSendGrid
from sending_app import account
from sending_app.api import client
from sending_app.api.client import SendResult
from sending_app.delivery import circuit_breaker, leases, sender
from sending_app.delivery.leases import LeasedMail
from sending_app.exceptions import Outcome
from sending_app.mail import AttachedFile
from sending_app.models import Mail, OpenCircuit, OutboxMessage
from sending_app.outcome import record
from tests.support.databases import database_away
from tests.support.recorded_calls import recorded_signals
from tests.support.sending.delivery import (
    API_KEY,
    accepted_outcome,
    deliver,
    outcome_of,
    sendgrid_double,
    take_lease,
    write_result,
)
from tests.support.sending.mail_events import FIRST_REQUEST, event_payload, receive_events, stored_recipients
from tests.support.sending.outbox_mails import all_parts, mail, only_part, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    sender.unwritten.writes.clear()


@pytest.fixture
def sendgrid(anymail: Callable[..., None]) -> Iterator[FakeSendGrid]:
    with sendgrid_double(anymail) as found:
        yield found


def let_pauses_be_over() -> None:
    for pause in OpenCircuit.objects.all():
        OpenCircuit.objects.filter(pk=pause.pk).update(probe_at=pause.opened_at)


# The way of a part


def test_an_outbox_mail_is_sent_unchanged(database: str, sendgrid: FakeSendGrid) -> None:
    file = AttachedFile(content=b"\0\xff", filename="terms.pdf", type="application/pdf")
    put_in_outbox(
        mail("ann@example.com", cc=["bob@example.com"], attachments=[file], subject="Grüße \U0001f600")
    )
    assert deliver() == {"accepted": 1}
    (got,) = sendgrid.accepted
    assert got.body["subject"] == "Grüße \U0001f600"
    (one,) = got.body["personalizations"]
    assert (one["to"], one["cc"]) == ([{"email": "ann@example.com"}], [{"email": "bob@example.com"}])
    assert one["custom_args"]["anymail_id"] == str(stored_recipients()[0].message_id)
    assert got.body["attachments"][0]["content"] == "AP8="
    assert (only_part().state, only_part().x_message_id) == ("accepted", got.x_message_id)
    assert only_part().account == account.named("default").fingerprint


def test_no_transaction_is_open_during_the_request(database: str, anymail: Callable[..., None]) -> None:
    def look(_: Any) -> None:
        with connections[database].cursor() as cursor:  # the double's thread has a connection of its own
            cursor.execute("SELECT state FROM sending_app_mail")
            seen.extend(cursor.fetchall())
        connections.close_all()

    seen: list[Any] = []
    with sendgrid_double(anymail, on_request=look):
        put_in_outbox()
        deliver()
    assert [tuple(one) for one in seen] == [("posting",)]


def test_each_response_moves_the_mail_to_its_state(database: str, sendgrid: FakeSendGrid) -> None:
    for answer, expected, state in (
        (responses.accepted(with_message_id=False), "accepted", "accepted"),
        (responses.error(400, Fault("Bad", "content")), "failed", "failed"),
        (responses.server_error(), "unknown", "unknown"),
        (responses.accept_and_close_connection(), "unknown", "unknown"),
    ):
        Mail.objects.all().delete()
        put_in_outbox()
        sendgrid.next(answer)
        assert deliver() == {expected: 1}
        assert only_part().state == state


def test_an_unreachable_server_is_retried(database: str, anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY=API_KEY, SENDGRID_API_URL="http://127.0.0.1:1/v3/")
    put_in_outbox()
    assert deliver() == {"retry": 1}
    assert (only_part().state, only_part().x_message_id) == ("waiting", "")
    assert "The mail did not get to SendGrid" in only_part().error


def test_the_error_text_of_sendgrid_is_recorded(database: str, sendgrid: FakeSendGrid) -> None:
    put_in_outbox()
    sendgrid.next(responses.error(400, Fault("The subject is required.", "subject")))
    deliver()
    assert only_part().error == "The subject is required. (subject)"


# How long


def test_all_due_mails_are_sent_within_the_budget(database: str, sendgrid: FakeSendGrid) -> None:
    for _ in range(5):
        put_in_outbox()
    assert deliver() == {"accepted": 5}
    assert len(sendgrid.accepted) == 5
    assert deliver() == {}


def test_at_least_one_mail_is_sent_without_any_budget(database: str, sendgrid: FakeSendGrid) -> None:
    for _ in range(3):
        put_in_outbox()
    assert deliver(seconds=0) == {"accepted": 1}
    assert deliver(seconds=0) == {"accepted": 1}


@pytest.mark.parametrize(("mails", "calls"), [(0, 0), (1, 0), (2, 1), (4, 1)])
def test_another_worker_is_woken_when_a_second_mail_is_due(
    database: str, sendgrid: FakeSendGrid, mails: int, calls: int
) -> None:
    called: list[int] = []
    for _ in range(mails):
        put_in_outbox()
    sender.post_due_mails(Mail.Lane.MAIL, 60, wake_another=lambda: called.append(len(sendgrid.requests)))
    assert called == [0] * calls


# Pauses


def test_a_refused_api_key_opens_the_circuit_breaker_and_one_mail_probes_it_later(
    database: str, sendgrid: FakeSendGrid, anymail: Callable[..., None]
) -> None:
    for _ in range(3):
        put_in_outbox()
    sendgrid.keys = set()
    assert deliver() == {"paused": 1}
    assert deliver() == {}
    assert {one.state for one in all_parts()} == {"waiting"}
    let_pauses_be_over()
    assert deliver() == {"paused": 1}
    assert (len(sendgrid.requests), OpenCircuit.objects.get().failures) == (2, 2)
    let_pauses_be_over()
    sendgrid.keys = {API_KEY}
    assert deliver() == {"accepted": 3}
    assert not OpenCircuit.objects.exists()


def test_a_rate_limit_opens_the_circuit_breaker_until_its_reset(
    database: str, sendgrid: FakeSendGrid
) -> None:
    put_in_outbox()
    sendgrid.next(responses.rate_limited(120))
    assert deliver() == {"paused": 1}
    pause = OpenCircuit.objects.get()
    assert (pause.probe_at - pause.opened_at).total_seconds() > 110
    assert (pause.status_code, pause.reason) == (429, "too many requests")
    assert only_part().state == "waiting"


def test_a_probe_refused_for_its_content_closes_the_circuit_breaker(
    database: str, sendgrid: FakeSendGrid
) -> None:
    put_in_outbox()
    begin_and_let_be_over()
    sendgrid.next(responses.error(400))
    assert deliver() == {"failed": 1}
    assert not OpenCircuit.objects.exists()


def test_a_probe_that_cannot_be_built_leaves_the_circuit_breaker_open(
    database: str, sendgrid: FakeSendGrid
) -> None:
    put_in_outbox()
    OutboxMessage.objects.update(content=b"{")
    begin_and_let_be_over()
    assert deliver() == {"failed": 1}
    assert (OpenCircuit.objects.count(), len(sendgrid.requests)) == (1, 0)


@pytest.mark.parametrize("answer", [responses.server_error(), responses.close_connection()])
def test_an_inconclusive_probe_leaves_the_circuit_breaker_open(
    database: str, sendgrid: FakeSendGrid, answer: responses.ApiResponse
) -> None:
    put_in_outbox()
    begin_and_let_be_over()
    sendgrid.next(answer)
    assert deliver() == {"unknown": 1}
    assert list(circuit_breaker.open_circuits().values()) == [False]


def test_a_request_sent_before_the_circuit_breaker_opened_does_not_close_it(
    database: str, sendgrid: FakeSendGrid
) -> None:
    put_in_outbox()
    taken = take_lease()
    circuit_breaker.trip(taken.account, SendResult(Outcome.PAUSED, 429, wait=60), is_probe=False)
    write_result(taken, accepted_outcome())
    assert OpenCircuit.objects.exists()
    assert only_part().state == "accepted"


def begin_and_let_be_over() -> None:
    circuit_breaker.trip(account.named("default"), SendResult(Outcome.PAUSED, 401), is_probe=False)
    let_pauses_be_over()


# A mail that pauses the account alone


REFUSALS = [
    responses.ApiResponse(status=415),
    responses.html_page(404),
    *(responses.error(status) for status in (403, 405, 406, 451)),
]


def to_ann(sent: dict[str, Any]) -> bool:
    return bool(sent["personalizations"][0]["to"][0]["email"] == "ann@example.com")


def let_mails_be_due() -> None:
    """The open time of the circuit is over, and all mails are due, in the same order."""
    let_pauses_be_over()
    earliest = Mail.objects.earliest("created_at").created_at
    for number, part in enumerate(Mail.objects.filter(state="waiting").order_by("due")):
        Mail.objects.filter(pk=part.pk).update(due=earliest + timedelta(microseconds=number))


@pytest.mark.parametrize("answer", REFUSALS, ids=[str(answer.status) for answer in REFUSALS])
def test_a_mail_that_pauses_the_account_twice_while_others_pass_fails_alone(
    database: str, sendgrid: FakeSendGrid, answer: responses.ApiResponse
) -> None:
    for address in ("ann@example.com", "bob@example.com", "cem@example.com"):
        put_in_outbox(mail(address))
    sendgrid.always(answer, when=to_ann)
    assert deliver() == {"paused": 1}
    assert all_parts()[0].paused_at is not None
    let_mails_be_due()
    with recorded_signals() as heard:
        assert deliver() == {"accepted": 2, "paused": 1}  # the task counts SendGrid's answers
    assert [one.state for one in all_parts()] == ["failed", "accepted", "accepted"]
    assert heard.signals == ["post_send", "post_send", "send_failed"]
    assert all_parts()[0].error.startswith("SendGrid accepts other mails of the account, and has twice")
    assert not OpenCircuit.objects.exists()


def test_a_paused_mail_is_due_after_the_probe_of_another_mail(database: str, sendgrid: FakeSendGrid) -> None:
    put_in_outbox()
    put_in_outbox()
    sendgrid.next(responses.error(406))
    assert deliver() == {"paused": 1}
    paused, other = all_parts()
    assert other.due < OpenCircuit.objects.get().probe_at < paused.due
    assert paused.due - OpenCircuit.objects.get().probe_at <= timedelta(seconds=2)


def test_a_mail_is_postponed_for_seconds_even_if_the_circuit_is_open_for_long(
    database: str, sendgrid: FakeSendGrid
) -> None:
    put_in_outbox()
    begin_and_let_be_over()
    OpenCircuit.objects.update(failures=9)
    sendgrid.next(responses.error(406))
    assert deliver() == {"paused": 1}
    circuit = OpenCircuit.objects.get()
    assert circuit.probe_at - circuit.opened_at > timedelta(seconds=500)
    assert only_part().paused_at is not None
    assert only_part().due - (only_part().paused_at or circuit.opened_at) == timedelta(seconds=17)


def test_a_mail_whose_neighbours_do_not_pass_either_is_paused_again(
    database: str, sendgrid: FakeSendGrid
) -> None:
    for _ in range(2):
        put_in_outbox()
    sendgrid.always(responses.error(406))
    for failures in range(1, 5):
        assert deliver() == {"paused": 1}
        assert OpenCircuit.objects.get().failures == failures
        let_mails_be_due()
    sendgrid.clear()
    assert deliver() == {"accepted": 2}


def test_a_neighbour_that_passed_before_the_pause_proves_nothing(
    database: str, sendgrid: FakeSendGrid
) -> None:
    put_in_outbox()
    assert deliver() == {"accepted": 1}
    put_in_outbox()
    sendgrid.always(responses.error(406))
    for _ in range(2):
        assert deliver() == {"paused": 1}
        let_mails_be_due()


@pytest.mark.parametrize(
    "answer",
    [
        responses.error(401),
        responses.error(407),
        responses.rate_limited(1),
        responses.ApiResponse(status=302),
    ],
    ids=["401", "407", "429", "302"],
)
def test_a_key_a_proxy_login_a_rate_limit_and_a_redirect_never_fail_a_mail(
    database: str, sendgrid: FakeSendGrid, answer: responses.ApiResponse
) -> None:
    for address in ("ann@example.com", "bob@example.com"):
        put_in_outbox(mail(address))
    sendgrid.always(answer, when=to_ann)
    assert deliver() == {"paused": 1}
    for _ in range(9):  # a probe takes a random mail
        let_pauses_be_over()
        deliver()
    assert (all_parts()[0].state, all_parts()[0].paused_at) == ("waiting", None)


def test_a_mail_that_pauses_two_accounts_does_not_fail(
    database: str, sendgrid: FakeSendGrid, anymail: Callable[..., None]
) -> None:
    put_in_outbox(mail("ann@example.com"))
    put_in_outbox(mail("bob@example.com"))
    sendgrid.always(responses.error(403), when=to_ann)
    assert deliver() == {"paused": 1}
    anymail(SENDGRID_API_KEY="SG.another", SENDGRID_API_URL=sendgrid.url)
    sendgrid.keys = None
    let_mails_be_due()
    deliver()
    assert all_parts()[0].state == "waiting"


def test_a_probe_takes_a_mail_that_has_not_paused_the_account(database: str, sendgrid: FakeSendGrid) -> None:
    for address in ("ann@example.com", "bob@example.com"):
        put_in_outbox(mail(address))
    sendgrid.always(responses.error(403), when=to_ann)
    assert deliver() == {"paused": 1}
    let_pauses_be_over()
    Mail.objects.update(due=Mail.objects.earliest("created_at").created_at)
    assert deliver(seconds=0) == {"accepted": 1}


def test_a_mail_proven_by_an_event_of_an_earlier_attempt_is_no_other_mail_that_passed(
    database: str, sendgrid: FakeSendGrid
) -> None:
    put_in_outbox(mail("ann@example.com"))
    put_in_outbox(mail("bob@example.com"))
    sendgrid.always(responses.error(403), when=to_ann)
    assert deliver() == {"paused": 1}
    ann, bob = all_parts()
    now = database_now(database)
    Mail.objects.filter(pk=bob.pk).update(
        state="accepted", account=ann.account, attempted_at=now, accepted_at=now, first_event_at=now
    )
    let_mails_be_due()
    assert deliver() == {"paused": 1}
    assert all_parts()[0].state == "waiting"


def test_a_neighbour_that_passed_before_the_circuit_opened_proves_nothing(
    database: str, sendgrid: FakeSendGrid
) -> None:
    for address in ("ann@example.com", "bob@example.com"):
        put_in_outbox(mail(address))
    sendgrid.always(responses.error(403), when=to_ann)
    assert deliver() == {"paused": 1}
    let_pauses_be_over()
    assert deliver() == {"accepted": 1}
    # The account is blocked now: another mail opens the circuit.
    circuit_breaker.trip(account.named("default"), SendResult(Outcome.PAUSED, 403), is_probe=False)
    let_mails_be_due()
    assert deliver() == {"paused": 1}
    assert all_parts()[0].state == "waiting"
    assert OpenCircuit.objects.exists()


def test_the_parts_of_a_mail_that_was_split_wake_a_worker(database: str, sendgrid: FakeSendGrid) -> None:
    put_in_outbox(mail("ann@example.com", "bob@example.com", batch=True, bulk=True))
    called: list[bool] = []
    sendgrid.next(responses.error(400))
    for _ in range(3):
        sender.post_due_mails(Mail.Lane.BULK, 0, wake_another=lambda: called.append(True))
    assert [part.state for part in all_parts()] == ["accepted", "accepted"]
    assert len(called) == 2  # after the split, and before the first of two parts


def test_the_api_key_is_in_no_row_and_no_log(
    database: str, sendgrid: FakeSendGrid, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for answer in (
        responses.error(401),
        responses.accepted(),
        responses.server_error(),
        responses.close_connection(),
    ):
        put_in_outbox()
        body = answer.body.replace(b"nauthorized", API_KEY.encode())
        sendgrid.next(responses.ApiResponse(status=answer.status, body=body, accepts=answer.accepts))
        deliver(seconds=0)
        let_pauses_be_over()
    rows = json.dumps([list(model.objects.values()) for model in (Mail, OpenCircuit)], default=str)
    assert API_KEY not in rows
    assert API_KEY not in caplog.text
    assert "example.com" not in "".join(
        record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG
    )


# What cannot be built


def test_a_mail_that_cannot_be_built_fails_alone(
    database: str, sendgrid: FakeSendGrid, caplog: pytest.LogCaptureFixture
) -> None:
    put_in_outbox()
    Mail.objects.update(personalizations=b'[{"id": 17}]')
    put_in_outbox()
    with recorded_signals() as heard:
        assert deliver() == {"failed": 1, "accepted": 1}
    assert [one.state for one in all_parts()] == ["failed", "accepted"]
    assert "The request cannot be built: ValidationError" in all_parts()[0].error
    assert f"Mail {all_parts()[0].pk} cannot be built: ValidationError at " in caplog.text
    assert heard.signals == ["post_send"]  # of what cannot be read no message can be made


@pytest.mark.parametrize("error", [OperationalError("gone"), SoftTimeLimitExceeded()])
def test_an_outage_or_time_limit_before_the_request_makes_a_retry(
    database: str, sendgrid: FakeSendGrid, error: Exception
) -> None:
    def execute(call: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith('SELECT "sending_app_attachment"'):  # the files, read for the body
            raise error
        return call(sql, params, many, context)

    put_in_outbox(
        mail(attachments=[AttachedFile(content=b"%PDF", filename="terms.pdf", type="application/pdf")])
    )
    with connections[database].execute_wrapper(execute), suppress(SoftTimeLimitExceeded):
        assert deliver(seconds=0) == {"retry": 1}
    assert (only_part().state, only_part().unknown_outcomes, len(sendgrid.requests)) == ("waiting", 0, 0)
    assert type(error).__name__ in only_part().error


@pytest.mark.parametrize("error", [SoftTimeLimitExceeded, SystemExit, KeyboardInterrupt])
def test_a_request_interrupted_by_the_time_limit_is_unknown_at_once(
    database: str, sendgrid: FakeSendGrid, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def cut_off(*_: object, **__: object) -> None:
        raise error

    put_in_outbox()
    monkeypatch.setattr(requests.Session, "send", cut_off)  # the wire
    with pytest.raises(error):
        deliver()
    assert (only_part().state, only_part().error) == (
        "unknown",
        f"The post was interrupted: {error.__name__}.",
    )


# The database goes away


@pytest.mark.parametrize("outcome", [one for one in Outcome if one is not Outcome.REJECTED])
def test_an_unwritten_outcome_is_written_once_the_database_is_back(
    database: str, anymail: Callable[..., None], outcome: Outcome
) -> None:
    anymail(SENDGRID_API_KEY=API_KEY)
    put_in_outbox()
    taken = take_lease()
    result = accepted_outcome() if outcome is Outcome.ACCEPTED else outcome_of(outcome)
    with database_away(database):
        with pytest.raises(DatabaseUnavailable):
            write_result(taken, result)
        with pytest.raises(DatabaseUnavailable):
            sender.unwritten.flush()
    assert only_part().state == "posting"
    sender.unwritten.flush()
    assert (
        only_part().state
        == {
            Outcome.ACCEPTED: "accepted",
            Outcome.FAILED: "failed",
            Outcome.UNKNOWN: "unknown",
            Outcome.RETRY: "waiting",
            Outcome.PAUSED: "waiting",
        }[outcome]
    )
    before = only_part().log
    sender.unwritten.flush()
    assert only_part().log == before


def test_an_open_circuit_breaker_and_the_outcome_are_recorded_together(
    database: str, anymail: Callable[..., None]
) -> None:
    def execute(call: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith('UPDATE "sending_app_mail"'):
            raise OperationalError
        return call(sql, params, many, context)

    anymail(SENDGRID_API_KEY=API_KEY)
    put_in_outbox()
    taken = take_lease()
    with connections[database].execute_wrapper(execute), pytest.raises(DatabaseUnavailable):
        write_result(taken, outcome_of(Outcome.PAUSED))
    assert not OpenCircuit.objects.exists()
    sender.unwritten.flush()
    assert (OpenCircuit.objects.get().failures, only_part().state) == (1, "waiting")


def test_an_outcome_recorded_late_does_not_override_event_feedback(
    database: str, anymail: Callable[..., None]
) -> None:
    anymail(SENDGRID_API_KEY=API_KEY)
    put_in_outbox()
    taken = take_lease()
    with database_away(database), suppress(DatabaseUnavailable):
        write_result(taken, outcome_of(Outcome.FAILED))
    receive_events(event_payload("processed", stored_recipients()[0]))
    sender.unwritten.flush()
    assert (only_part().state, only_part().x_message_id) == ("accepted", FIRST_REQUEST)


def test_concurrent_threads_write_unwritten_outcomes_once(
    database: str, anymail: Callable[..., None]
) -> None:
    anymail(SENDGRID_API_KEY=API_KEY)
    for _ in range(12):
        put_in_outbox()
    taken: list[LeasedMail] = [take_lease() for _ in all_parts()]
    for lease in taken:
        sender.unwritten.writes.append(partial(sender._record, lease, accepted_outcome()))
    together = Barrier(3)

    def write(_: int) -> None:
        together.wait()
        try:
            sender.unwritten.flush()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    assert {one.state for one in all_parts()} == {"accepted"}


# Two attempts


def test_a_late_202_of_a_worker_with_an_expired_lease_is_recorded_as_sent_twice(
    database: str, sendgrid: FakeSendGrid
) -> None:
    put_in_outbox()
    taken = take_lease()
    outcome = client.post(taken.account, sender.request_body(taken))
    Mail.objects.update(state="waiting", due=only_part().created_at)
    newer = take_lease()
    record.record_result(newer.mail, client.post(newer.account, sender.request_body(newer)))
    assert not only_part().sent_twice
    write_result(taken, outcome)
    assert only_part().sent_twice
    assert len({got.x_message_id for got in sendgrid.accepted}) == 2
    assert (
        len({got.body["personalizations"][0]["custom_args"]["anymail_id"] for got in sendgrid.accepted}) == 1
    )
    assert leases.acquire(Mail.Lane.MAIL) is None
