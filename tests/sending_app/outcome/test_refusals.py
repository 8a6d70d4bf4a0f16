"""Refused personalizations fail alone; each personalization stays in exactly one mail, in order."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from uuid import UUID

import pytest
from django.db import OperationalError, connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events_app.shared.database import DatabaseUnavailable, database_now
from fake_sendgrid import responses
from fake_sendgrid.rules.fault import Fault
from fake_sendgrid.server import FakeSendGrid
from sending_app import outbox, timeline
from sending_app.api import client
from sending_app.api.client import SendResult
from sending_app.delivery import leases, reconcile, sender
from sending_app.delivery.leases import LeasedMail
from sending_app.exceptions import Outcome
from sending_app.models import Mail, Recipient
from sending_app.outcome import manual, record, refusals
from tests.support.recorded_calls import recorded_signals
from tests.support.sending.delivery import (
    accepted_outcome,
    deliver,
    sendgrid_double,
    take_lease,
    write_result,
)
from tests.support.sending.mail_events import event_payload, receive_events, stored_recipients
from tests.support.sending.outbox_mails import all_parts, mail, only_part, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


@pytest.fixture
def sendgrid(anymail: Callable[..., None]) -> Iterator[FakeSendGrid]:
    with sendgrid_double(anymail) as found:
        yield found


@pytest.fixture(autouse=True)
def key(anymail: Callable[..., None]) -> Iterator[None]:
    anymail(SENDGRID_API_KEY="SG.fake")
    yield
    sender.unwritten.writes.clear()


def addresses(count: int) -> list[str]:
    return [f"n{number}@example.com" for number in range(count)]


def put_batch(count: int) -> list[str]:
    put_in_outbox(mail(*addresses(count), batch=True), bulk_above=2000)
    return addresses(count)


def refusal(*places: int) -> SendResult:
    return SendResult(Outcome.FAILED, 400, detail="SendGrid's own words", refused=frozenset(places))


def of_mail(row: Mail) -> list[str]:
    """The addresses of the mail, after a look whether its recipients are the same."""
    personalizations = outbox.personalizations_of(row)
    recipients = Recipient.objects.using(outbox.using()).filter(mail=row).order_by("pk")
    assert [UUID(one.id) for one in personalizations] == [one.message_id for one in recipients]
    found = [one.to[0]["email"] for one in personalizations]
    assert [one.address for one in recipients] == found
    assert row.recipient_count == len(found)
    return found


def sent_to(sendgrid: FakeSendGrid) -> list[str]:
    return [one["to"][0]["email"] for got in sendgrid.accepted for one in got.body["personalizations"]]


def statuses() -> dict[str, str]:
    return {one.address: one.status for one in stored_recipients()}


# A thousand


@pytest.mark.parametrize(("names_refused", "most"), [(True, 1), (False, 60)])
def test_three_refused_addresses_of_a_thousand_cost_no_other_recipient(
    database: str, sendgrid: FakeSendGrid, names_refused: bool, most: int
) -> None:
    everyone = put_batch(1000)
    bad = {"n2@example.com", "n500@example.com", "n999@example.com"}
    sendgrid.refused, sendgrid.names_refused = bad, names_refused
    with recorded_signals() as heard:
        counts = deliver()
    assert len(sent_to(sendgrid)) == len({*sent_to(sendgrid)}) == 997
    assert {*everyone} - {*sent_to(sendgrid)} == bad
    assert 1 <= len(sendgrid.requests) - 1 <= most
    assert sum(counts.values()) == len(sendgrid.requests)
    assert {row.state for row in all_parts()} == {"accepted", "failed"}
    failed = [row for row in all_parts() if row.state == "failed"]
    assert {address for row in failed for address in of_mail(row)} == bad
    assert all(row.refused and row.error and row.finished_at for row in failed)
    assert {address for address, status in statuses().items() if status == "failed"} == bad
    assert heard.signals.count("send_failed") == len(failed) == (1 if names_refused else 3)


def test_a_refusal_without_a_name_costs_twenty_further_requests_if_nothing_is_accepted(
    database: str, sendgrid: FakeSendGrid
) -> None:
    everyone = put_batch(1000)
    sendgrid.always(responses.error(400))
    deliver()
    assert len(sendgrid.requests) == 21
    assert {row.state for row in all_parts()} == {"failed"}
    assert sorted(address for row in all_parts() for address in of_mail(row)) == sorted(everyone)
    assert all_parts()[0].further_requests == 20
    assert not Mail.objects.filter(refused=True).exists()
    assert all(row.error.startswith("Given up after many requests") for row in all_parts())
    assert {*statuses().values()} == {"failed"}


def test_a_fault_of_the_shared_content_fails_the_mail_at_once(database: str, sendgrid: FakeSendGrid) -> None:
    put_batch(100)
    sendgrid.next(responses.error(400, Fault("No.", "subject")))
    assert deliver() == {"failed": 1}
    assert (only_part().state, only_part().refused, len(sendgrid.requests)) == ("failed", False, 1)


def test_a_mail_that_is_no_batch_fails_whole(database: str, sendgrid: FakeSendGrid) -> None:
    put_in_outbox(mail("ann@example.com", "bob@example.com"))
    sendgrid.refused = {"bob@example.com"}
    assert deliver() == {"failed": 1}
    assert (only_part().state, only_part().refused, len(sendgrid.requests)) == ("failed", True, 1)


def test_a_batch_of_refused_addresses_alone_fails_whole(database: str, sendgrid: FakeSendGrid) -> None:
    sendgrid.refused = {*put_batch(3)}
    assert deliver() == {"failed": 1}
    assert (only_part().state, only_part().refused, len(sendgrid.requests)) == ("failed", True, 1)


# The rows


def test_the_refused_personalizations_move_to_a_failed_mail(database: str) -> None:
    put_batch(5)
    before = only_part()
    taken = take_lease()
    write_result(taken, refusal(1, 3))
    kept, failed = all_parts()
    assert (kept.state, of_mail(kept)) == ("waiting", ["n0@example.com", "n2@example.com", "n4@example.com"])
    assert (failed.state, of_mail(failed)) == ("failed", ["n1@example.com", "n3@example.com"])
    assert (kept.pk, kept.refused, kept.split_from, kept.further_requests) == (before.pk, False, None, 1)
    assert (failed.refused, failed.split_from, failed.error) == (True, kept.pk, "SendGrid's own words")
    assert (failed.created_at, failed.attempts, failed.account) == (kept.created_at, 1, kept.account)
    assert failed.attempted_at == kept.attempted_at is not None
    assert kept.log[-1]["what"] == (
        f"The refused recipients (2) are mail {failed.pk} now. The others are posted: SendGrid's own words"
    )
    assert failed.log[-1]["what"] == f"Refused in the request of mail {kept.pk}: SendGrid's own words"
    assert kept.created_at == before.created_at
    assert take_lease().mail.pk == kept.pk


def test_a_refusal_without_a_name_makes_two_mails_due(database: str) -> None:
    everyone = put_batch(5)
    write_result(take_lease(), refusal())
    first, second = all_parts()
    assert (of_mail(first), of_mail(second)) == (everyone[:3], everyone[3:])
    assert (first.state, second.state, second.split_from) == ("waiting", "waiting", first.pk)
    assert (first.further_requests, second.further_requests) == (2, 0)
    assert {*statuses().values()} == {"queued"}
    assert {take_lease().mail.pk, take_lease().mail.pk} == {first.pk, second.pk}


def test_the_timeline_of_a_refused_recipient_tells_the_refusal(database: str) -> None:
    put_batch(3)
    write_result(take_lease(), refusal(1))
    write_result(take_lease(), accepted_outcome())
    accepted, refused, _ = Recipient.objects.order_by("address")
    steps = {
        one.address: [moment.what for moment in timeline.of(one.message_id)] for one in (accepted, refused)
    }
    assert steps == {
        "n0@example.com": ["created", "posted", "note", "accepted"],
        "n1@example.com": ["created", "posted", "failed"],
    }
    assert timeline.status_of(refused.message_id).status == {"failed"}


def test_receivers_are_told_of_the_refused_recipients_alone(database: str) -> None:
    put_batch(3)
    taken = take_lease()
    with recorded_signals() as heard:
        write_result(taken, refusal(1))
    assert heard.signals == ["send_failed"]
    assert [*heard.calls[0][1]["status"].recipients] == ["n1@example.com"]


def test_the_age_limit_counts_from_the_message(database: str, anymail: Callable[..., None]) -> None:
    anymail(SEND_MAX_AGE=3600)
    put_batch(4)
    created_at = only_part().created_at - timedelta(hours=2)
    Mail.objects.update(created_at=created_at)
    write_result(take_lease(), refusal())
    assert reconcile.reconcile_all() == {"failed": 2}


# Attempts


def test_an_older_attempt_splits_nothing(database: str) -> None:
    put_batch(4)
    older = take_lease()
    Mail.objects.update(state="waiting", due=only_part().created_at)
    take_lease()
    write_result(older, refusal(1))
    assert (only_part().state, len(of_mail(only_part())), only_part().further_requests) == ("posting", 4, 0)


def test_proof_of_acceptance_overrides_a_refusal(database: str) -> None:
    put_batch(4)
    taken = take_lease()
    receive_events(event_payload("processed", stored_recipients()[0]))
    write_result(taken, refusal(1))
    assert (only_part().state, len(of_mail(only_part())), only_part().further_requests) == ("accepted", 4, 0)


def test_a_late_202_accepts_all_parts_of_a_mail_that_was_split_since(database: str) -> None:
    put_batch(4)
    late = take_lease()
    Mail.objects.update(state="waiting", due=only_part().created_at)
    write_result(take_lease(), refusal(1))
    write_result(take_lease(), refusal())
    assert [row.state for row in all_parts()] == ["waiting", "failed", "waiting"]
    with recorded_signals() as heard:
        record.record_result(late.mail, accepted_outcome())
    assert [row.state for row in all_parts()] == ["accepted"] * 3
    assert not any(row.sent_twice for row in all_parts())
    assert {*statuses().values()} == {"queued"}
    assert heard.signals == ["post_send"] * 3


def test_a_worker_death_before_the_refusal_is_written_splits_nothing(
    database: str, sendgrid: FakeSendGrid
) -> None:
    put_batch(4)
    taken = take_lease()
    sendgrid.refused = {"n1@example.com"}
    result = client.post(taken.account, sender.request_body(taken))
    assert result.refused == frozenset({1})

    def execute(call: Callable[..., object], sql: str, params: object, many: bool, context: object) -> object:
        if sql.startswith('UPDATE "sending_app_mail"') and '"log"' in sql:  # the last statement of the split
            raise OperationalError
        return call(sql, params, many, context)

    with connections[database].execute_wrapper(execute), pytest.raises(DatabaseUnavailable):
        write_result(taken, result)
    sender.unwritten.writes.clear()  # the process dies
    assert (only_part().state, len(of_mail(only_part())), only_part().further_requests) == ("posting", 4, 0)
    # The lease expires; once reconciled, the mail is posted and split as before.
    Mail.objects.update(due=only_part().created_at)
    assert reconcile.reconcile_all() == {"unknown": 1}
    Mail.objects.update(state="waiting", due=only_part().created_at)
    assert deliver() == {"failed": 1, "accepted": 1}
    assert sent_to(sendgrid) == ["n0@example.com", "n2@example.com", "n3@example.com"]


def test_a_refusal_is_written_once_the_database_is_back(database: str) -> None:
    def execute(call: Callable[..., object], sql: str, params: object, many: bool, context: object) -> object:
        if sql.startswith('INSERT INTO "sending_app_mail"'):
            raise OperationalError
        return call(sql, params, many, context)

    put_batch(4)
    taken = take_lease()
    with connections[database].execute_wrapper(execute), pytest.raises(DatabaseUnavailable):
        write_result(taken, refusal(1))
    sender.unwritten.flush()
    sender.unwritten.flush()
    assert [row.state for row in all_parts()] == ["waiting", "failed"]


# All of them


@given(
    count=st.integers(2, 12),
    bad=st.sets(st.integers(0, 11)),
    named=st.lists(st.booleans(), min_size=1, max_size=5),
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_personalization_ends_in_exactly_one_mail_in_order(
    database: str, count: int, bad: set[int], named: list[bool]
) -> None:
    Mail.objects.using(database).all().delete()
    everyone = put_batch(count)
    culprits = {everyone[place] for place in bad if place < count}
    turn = 0
    while taken := leases.acquire(Mail.Lane.MAIL):
        places = [n for n, address in enumerate(of_mail(taken.mail)) if address in culprits]
        if places:
            result = refusal(*places) if named[turn % len(named)] else refusal()
        else:
            result = accepted_outcome()
        write_result(taken, result)
        turn += 1
    lists = [of_mail(row) for row in all_parts()]
    assert sorted(address for addresses in lists for address in addresses) == sorted(everyone)
    assert all(addresses == sorted(addresses, key=everyone.index) for addresses in lists)
    for row in all_parts():
        if row.state == "accepted":
            assert not culprits & {*of_mail(row)}
        if row.refused:
            assert {*of_mail(row)} <= culprits


def test_a_part_that_no_limit_allows_to_be_split_fails_with_a_reason(database: str) -> None:
    put_batch(4)
    Mail.objects.update(further_requests=19)
    taken = take_lease()
    refusals.record_refusal(taken.mail, refusal())
    assert (only_part().state, only_part().refused, only_part().further_requests) == ("failed", False, 19)
    assert only_part().error.endswith("refuses some of the recipients: SendGrid's own words")


def test_parts_that_are_refused_at_once_share_the_limit(database: str) -> None:
    put_batch(4)
    write_result(take_lease(), refusal())
    Mail.objects.filter(split_from=None).update(further_requests=18)
    leased = [take_lease(), take_lease()]
    together = Barrier(2)

    def refuse(lease: LeasedMail) -> None:
        together.wait()
        try:
            write_result(lease, refusal())
        except DatabaseUnavailable:  # SQLite was locked
            sender.unwritten.flush()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(refuse, leased))
    assert sorted(row.state for row in all_parts()) == ["failed", "waiting", "waiting"]
    assert Mail.objects.earliest("pk").further_requests == 20


def test_a_larger_limit_holds_once_a_part_is_accepted(database: str) -> None:
    put_batch(4)
    write_result(take_lease(), refusal())
    Mail.objects.filter(split_from=None).update(further_requests=20)
    write_result(take_lease(), accepted_outcome())
    write_result(take_lease(), replace(refusal(), detail="Again."))
    assert sorted(row.state for row in all_parts()) == ["accepted", "waiting", "waiting"]
    assert Mail.objects.earliest("pk").further_requests == 22


def test_proof_of_an_earlier_attempt_accepts_all_parts_of_a_mail_that_was_split_since(
    database: str, sendgrid: FakeSendGrid
) -> None:
    put_batch(4)
    sendgrid.next(responses.server_error())
    assert deliver() == {"unknown": 1}
    Mail.objects.update(state="waiting", due=database_now(database))
    write_result(take_lease(), refusal())
    assert [row.state for row in all_parts()] == ["waiting", "waiting"]
    receive_events(event_payload("delivered", stored_recipients()[0]))
    assert [row.state for row in all_parts()] == ["accepted", "accepted"]


def test_recipients_that_sendgrid_names_one_by_one_cost_no_other_recipient(
    database: str, sendgrid: FakeSendGrid
) -> None:
    everyone = put_batch(100)
    bad = [*everyone[::4]]
    for address in bad:
        # SendGrid names only the first refused address of a request.
        at = [one for one in everyone if one not in bad[: bad.index(address)]].index(address)
        sendgrid.next(responses.error(400, Fault("Invalid.", f"personalizations.{at}.to.0.email")))
    deliver()
    assert {*sent_to(sendgrid)} == {*everyone} - {*bad}


def test_a_refused_mail_that_is_retried_and_refused_again_is_still_left_alone(
    database: str, sendgrid: FakeSendGrid
) -> None:
    put_batch(2)
    sendgrid.refused, sendgrid.names_refused = {"n1@example.com"}, False
    deliver()
    (refused,) = [row for row in all_parts() if row.state == "failed"]
    assert manual.retry_mails([refused.pk], with_refused=True) == Counter(retried=1)
    deliver()
    assert manual.retry_mails([refused.pk]) == Counter(refused=1)


def test_a_fault_of_all_mails_of_a_message_is_searched_once(database: str, sendgrid: FakeSendGrid) -> None:
    put_in_outbox(mail(*addresses(3000), batch=True), bulk_above=5000)
    sendgrid.always(responses.error(400, Fault("Something is wrong.", None)))
    while deliver():
        pass
    assert {row.state for row in all_parts()} == {"failed"}
    assert len(sendgrid.requests) <= 3 + 20


def test_proof_of_an_earlier_attempt_accepts_the_rest_of_a_mail_whose_refused_recipients_were_named(
    database: str,
) -> None:
    put_batch(4)
    write_result(take_lease(), SendResult(Outcome.UNKNOWN, 500))
    Mail.objects.update(state="waiting", due=database_now(database))
    write_result(take_lease(), refusal(1))
    assert [row.state for row in all_parts()] == ["waiting", "failed"]
    (refused,) = stored_recipients(all_parts()[1])
    with recorded_signals() as heard:
        receive_events(event_payload("delivered", refused))
    assert [(row.state, row.refused) for row in all_parts()] == [("accepted", False)] * 2
    assert heard.signals == ["post_send"] * 2
    assert not any(row.sent_twice for row in all_parts())


def test_proof_of_an_attempt_of_a_part_accepts_no_part_that_was_not_in_its_request(database: str) -> None:
    put_batch(4)
    write_result(take_lease(), refusal())
    for _ in range(2):  # each half is posted, with an unknown outcome
        write_result(take_lease(), SendResult(Outcome.UNKNOWN, 500))
    receive_events(event_payload("delivered", stored_recipients()[0]))
    assert [row.state for row in all_parts()] == ["accepted", "unknown"]


def test_proof_of_an_unknown_attempt_of_a_half_accepts_the_parts_of_this_half_alone(database: str) -> None:
    put_batch(8)
    write_result(take_lease(), refusal())
    half = take_lease().mail
    Mail.objects.filter(pk=half.pk).update(due=database_now(database))
    assert reconcile.reconcile_all() == {"unknown": 1}  # the worker died
    Mail.objects.exclude(pk=half.pk).update(due=database_now(database) + timedelta(hours=1))
    Mail.objects.filter(pk=half.pk).update(state="waiting", due=database_now(database))
    write_result(take_lease(), refusal())
    receive_events(event_payload("delivered", stored_recipients(half)[0]))
    half_of_half = all_parts()[-1].pk
    assert {row.pk for row in all_parts() if row.state == "accepted"} == {half.pk, half_of_half}
    assert [row.state for row in all_parts()].count("waiting") == 1


def test_a_retry_of_a_waiting_part_keeps_its_place_in_the_search(database: str) -> None:
    put_batch(4)
    write_result(take_lease(), refusal())
    first, second = all_parts()
    Mail.objects.update(due=database_now(database) + timedelta(hours=1))
    assert manual.retry_mails([first.pk, second.pk]) == Counter(retried=2)
    assert [(row.split_from, row.further_requests) for row in all_parts()] == [(None, 2), (first.pk, 0)]
