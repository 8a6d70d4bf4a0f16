"""What happened to a mail is told in order, and a status that was kept is brought up to date."""

import uuid
from typing import Any

import pytest

from sending_app import timeline
from sending_app.message import RecipientStatus, SendStatus
from sending_app.models import Mail, OutboxMessage, Recipient
from sending_app.timeline import refresh, status_of
from tests.support.sending.mail_events import (
    NOON,
    after_noon,
    answer_to_last_mail,
    event_of_last_mail,
    last_message_id,
    receive_events,
)
from tests.support.sending.outbox_mails import mail, only_part, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

ONE, OTHER = "a" * 22, "b" * 22


def told(most: int = 1000) -> list[tuple[float, str, str]]:
    moments = timeline.of(last_message_id(), most)
    return [((moment.at - NOON).total_seconds(), moment.what, moment.said) for moment in moments]


def kept_at_noon(*to: str, **columns: Any) -> None:
    message = put_in_outbox(mail(*to))
    OutboxMessage.objects.filter(pk=message.pk).update(created_at=NOON)
    Mail.objects.filter(pk=only_part().pk).update(**columns)


def noted(seconds: float, what: str) -> dict[str, str]:
    return {"at": after_noon(seconds).isoformat(timespec="seconds"), "what": what}


# What happened


def test_the_timeline_of_a_delivered_mail_is_complete(database: str) -> None:
    columns = {
        "attempted_at": after_noon(1),
        "attempts": 1,
        "accepted_at": after_noon(1.5),
        "x_message_id": ONE,
    }
    kept_at_noon(state="accepted", **columns)
    receive_events(
        event_of_last_mail(60, "open"),
        event_of_last_mail(2, "processed"),
        event_of_last_mail(5, "delivered", response="250 OK"),
        event_of_last_mail(70, "click", url="https://example.net/"),
    )
    assert told() == [
        (0, "created", "for the mailer default"),
        (1, "posted", "attempt 1"),
        (1.5, "accepted", f"X-Message-Id {ONE}"),
        (2, "queued", "SendGrid took the message and will try to deliver it."),
        (5, "delivered", "250 OK"),
        (60, "opened", "The message was opened."),
        (70, "clicked", "https://example.net/"),
    ]


def test_earlier_errors_are_notes_in_the_timeline(database: str) -> None:
    columns = {"attempted_at": after_noon(20.7), "attempts": 2, "finished_at": after_noon(20.9)}
    log = [noted(5, "503: busy"), noted(20, "400: Does not contain a valid address.")]
    kept_at_noon(state="failed", log=log, error=log[1]["what"], **columns)
    assert told()[1:] == [
        (5, "note", "503: busy"),
        (20.7, "posted", "attempt 2"),
        (20, "failed", "400: Does not contain a valid address."),
    ]


@pytest.mark.parametrize("state", ["failed", "unknown", "parked", "cancelled"])
def test_the_last_log_entry_has_the_final_state(database: str, state: str) -> None:
    kept_at_noon(state=state, log=[noted(1, "first"), noted(2, "last")])
    assert told()[1:] == [(1, "note", "first"), (2, state, "last")]


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_final_state_without_a_log_entry_is_in_the_timeline(database: str, state: str) -> None:
    kept_at_noon(state=state, finished_at=after_noon(3))
    assert told()[1:] == [(3, state, "")]


def test_a_second_send_is_in_the_timeline(database: str) -> None:
    kept_at_noon(state="accepted", accepted_at=after_noon(1), x_message_id=ONE)
    receive_events(event_of_last_mail(2, "processed", sg_message_id=f"{ONE}.recvd-1"))
    receive_events(event_of_last_mail(3, "processed", sg_message_id=f"{OTHER}.recvd-1"))
    receive_events(event_of_last_mail(4, "delivered", sg_message_id=f"{OTHER}.recvd-1"))
    assert [(seconds, what) for seconds, what, _ in told()[2:]] == [
        (2, "queued"),
        (3, "sent twice"),
        (3, "queued"),
        (4, "delivered"),
    ]
    assert told()[3][2] == f"SendGrid also accepted it as {OTHER}"


def test_acceptance_by_event_feedback_is_in_the_timeline(database: str) -> None:
    kept_at_noon(state="unknown", log=[noted(1, "Read timed out.")])
    receive_events(event_of_last_mail(2, "processed", sg_message_id=f"{ONE}.recvd-1"))
    assert [(what, said) for _, what, said in told()[1::2]] == [
        ("note", "Read timed out."),
        ("accepted", f"as its events show, X-Message-Id {ONE}"),
    ]


def test_a_bounce_has_its_recipient_and_reject_reason(database: str) -> None:
    kept_at_noon("ann@example.com", "Bo@Example.com")
    receive_events(
        event_of_last_mail(9, "bounce", "Bo@Example.com", reason="550 no such user", type="bounce")
    )
    moment = timeline.of(last_message_id())[1]
    assert (moment.what, moment.recipient, moment.reject_reason) == ("bounced", "Bo@Example.com", "bounced")
    assert moment.said == "550 no such user"


def test_entries_of_one_second_are_in_the_order_of_delivery(database: str) -> None:
    kept_at_noon(attempted_at=after_noon(0.2), attempts=1, accepted_at=after_noon(0.4))
    names = ("open", "bounce", "delivered", "deferred", "processed")
    receive_events(*(event_of_last_mail(0, name) for name in names))
    told_in_order = ["created", "posted", "accepted", "queued", "deferred", "delivered", "bounced", "opened"]
    assert [what for _, what, _ in told()] == told_in_order


def test_an_event_without_a_timestamp_has_the_received_time(database: str) -> None:
    kept_at_noon()
    receive_events(event_of_last_mail(0, "open", timestamp=None), event_of_last_mail(1, "delivered"), at=NOON)
    assert [what for _, what, _ in told()] == ["created", "accepted", "opened", "delivered"]


def test_the_number_of_events_is_limited(database: str) -> None:
    kept_at_noon()
    receive_events(*(event_of_last_mail(seconds, "open") for seconds in range(5, 0, -1)))
    assert [seconds for seconds, _, _ in told(most=3)][:-1] == [0, 1, 2, 3]
    assert timeline.events_of([uuid.UUID(last_message_id())]) == 5


def test_events_of_another_mail_are_left_out(database: str) -> None:
    kept_at_noon()
    receive_events(event_of_last_mail(1, "open"), event_of_last_mail(2, "open", anymail_id=str(uuid.uuid4())))
    assert [what for _, what, _ in told()] == ["created", "opened", "accepted"]
    assert len(timeline.of_mail(only_part(), [uuid.UUID(last_message_id())])) == 3
    assert len(timeline.of_mail(only_part(), [])) == 2


def test_a_mail_outside_the_outbox_has_a_timeline_of_its_events(database: str) -> None:
    kept_at_noon()
    stranger = str(uuid.uuid4())
    receive_events(
        event_of_last_mail(1, "delivered", anymail_id=stranger),
        event_of_last_mail(2, "open", anymail_id="<not-ours@x>"),
    )
    assert [moment.what for moment in timeline.of(stranger)] == ["delivered"]
    assert [moment.what for moment in timeline.of("<not-ours@x>")] == ["opened"]
    assert timeline.of("") == []


def test_the_timeline_of_a_batch_merges_its_recipients(database: str) -> None:
    kept_at_noon()
    put_in_outbox(mail("ann@example.com", "bo@example.com", batch=True))
    batch = {str(row.message_id) for row in Recipient.objects.order_by("pk")[1:]}
    OutboxMessage.objects.update(created_at=NOON)
    ann, bo = (str(row.message_id) for row in Recipient.objects.order_by("pk")[1:])
    stranger = str(uuid.uuid4())
    receive_events(
        event_of_last_mail(2, "open", anymail_id=ann),
        event_of_last_mail(1, "delivered", "bo@example.com", anymail_id=bo),
    )
    receive_events(event_of_last_mail(3, "open", anymail_id=stranger))
    assert [moment.what for moment in timeline.of(batch)] == ["created", "delivered", "opened", "accepted"]
    everything = [moment.at for moment in timeline.of([*ids().values(), stranger, None])]
    assert everything == sorted(everything)
    assert len(everything) == 5


def test_message_ids_may_be_text_uuids_or_collections(database: str) -> None:
    kept_at_noon()
    receive_events(event_of_last_mail(1, "open"))
    ours = uuid.UUID(last_message_id())
    for one in (ours, [ours], {str(ours).upper()}, (None, ours, str(ours)), frozenset({ours})):
        assert [moment.what for moment in timeline.of(one)] == ["created", "opened", "accepted"]
        assert status_of(one).message_id == str(ours)
    nowhere: tuple[timeline.Ids, ...] = (None, [], set(), [None], "")
    for nothing in nowhere:
        assert timeline.of(nothing) == []
        assert (status_of(nothing).status, status_of(nothing).recipients) == (None, {})
    assert status_of().recipients == {}


def test_thousands_of_message_ids_are_looked_up_in_slices(database: str) -> None:
    put_in_outbox(mail(*(f"p{number}@example.net" for number in range(2500)), batch=True))
    receive_events(event_of_last_mail(1, "open", "p2499@example.net"))
    outside = [str(uuid.uuid4()) for _ in range(1500)]
    moments = timeline.of([*ids().values(), *outside])
    assert [moment.what for moment in moments] == ["opened", "created", "created", "created", "accepted"]


# Answers


def test_replies_are_in_the_timeline(database: str) -> None:
    kept_at_noon()
    receive_events(event_of_last_mail(60, "open"), event_of_last_mail(30, "delivered", response="250 OK"))
    late, early = answer_to_last_mail(90, sender="bo@example.com", subject=""), answer_to_last_mail(60.5)
    answer_to_last_mail(70, answers=str(uuid.uuid4()))
    answer_to_last_mail(80, answers="").delete()
    assert told()[-3:-1] == [
        (60.5, "answered", f"inbound mail {early.pk}: Re: Your order"),
        (90, "answered", f"inbound mail {late.pk}"),
    ]
    assert [moment.recipient for moment in timeline.of(last_message_id())][-3:-1] == [
        "ann@example.com",
        "bo@example.com",
    ]


def test_a_duplicate_reply_is_left_out(database: str) -> None:
    kept_at_noon()
    first = answer_to_last_mail(1)
    answer_to_last_mail(2, duplicate_of=first)
    assert [what for _, what, _ in told()] == ["created", "answered"]


def test_the_number_of_replies_is_limited_to_the_first(database: str) -> None:
    kept_at_noon()
    for seconds in (3, 2, 1):
        answer_to_last_mail(seconds)
    assert [seconds for seconds, _, _ in told(most=2)] == [0, 1, 2]


def test_replies_are_filtered_by_sender(database: str) -> None:
    kept_at_noon("ann@example.com", "bo@example.com")
    answer_to_last_mail(1)
    answer_to_last_mail(2, sender="bo@example.com")
    found = timeline.of_mail(only_part(), [uuid.UUID(last_message_id())], to={"bo@example.com"})
    assert [(moment.what, moment.recipient) for moment in found] == [
        ("created", ""),
        ("answered", "bo@example.com"),
    ]


def test_replies_to_a_mail_outside_the_outbox_are_in_its_timeline(database: str) -> None:
    stranger = str(uuid.uuid4())
    answer_to_last_mail(1, answers=stranger)
    answer_to_last_mail(2, answers="<theirs@x>")
    assert [moment.what for moment in timeline.of(stranger)] == ["answered"]
    assert [moment.what for moment in timeline.of(["<theirs@x>", stranger])] == ["answered"] * 2
    assert timeline.of("") == []


# Where recipients have got to


def ids() -> dict[str, str]:
    return {row.address: str(row.message_id) for row in Recipient.objects.order_by("pk")}


def test_status_of_returns_each_recipients_status(database: str) -> None:
    put_in_outbox(mail("ann@example.com", "bo@example.com", batch=True))
    receive_events(event_of_last_mail(1, "delivered", "bo@example.com"))
    found = status_of(*ids().values())
    assert {address: one.status for address, one in found.recipients.items()} == {
        "ann@example.com": "queued",
        "bo@example.com": "delivered",
    }
    assert found.status == {"queued", "delivered"}
    assert found.message_id == set(ids().values())


def test_status_of_one_message_id_returns_its_status(database: str) -> None:
    put_in_outbox()
    found = status_of(last_message_id())
    assert (found.message_id, found.status) == (last_message_id(), {"queued"})


def test_status_of_several_mails_to_one_address_is_that_of_the_last(database: str) -> None:
    for _ in range(3):
        put_in_outbox()
    # Neither an index nor the table has these ids in the order of sending.
    message_ids = [str(uuid.UUID(int=number)) for number in (1, 2, 3)]
    for row, message_id in zip(Recipient.objects.order_by("-pk"), message_ids, strict=True):
        Recipient.objects.filter(pk=row.pk).update(message_id=message_id)
    assert status_of(*message_ids).recipients["ann@example.com"].message_id == message_ids[0]


def test_status_of_an_unknown_message_id_is_empty(database: str) -> None:
    found = status_of(str(uuid.uuid4()), "no id of ours")
    assert (found.message_id, found.status, found.recipients) == (None, None, {})


def test_a_cc_recipient_has_the_message_id_of_the_last_copy(database: str) -> None:
    put_in_outbox(mail("ann@example.com", "bo@example.com", cc=["cy@example.com"], batch=True))
    found = status_of(*ids().values())
    assert found.recipients["cy@example.com"].message_id == found.recipients["bo@example.com"].message_id


def given(**statuses: Any) -> SendStatus:
    status = SendStatus()
    status.set_recipient_status(statuses)
    return status


def test_refresh_updates_a_status_under_the_callers_addresses(database: str) -> None:
    put_in_outbox(mail("Ann@example.com", "bo@xn--bcher-kva.example", "cy@example.com"))
    receive_events(
        event_of_last_mail(1, "delivered", "Ann@example.com"),
        event_of_last_mail(1, "bounce", "bo@xn--bcher-kva.example"),
    )
    queued, other = (
        RecipientStatus(last_message_id(), "queued"),
        RecipientStatus(uuid.UUID(last_message_id()), "queued"),
    )
    status = given(**{"Ann@example.com": queued, "bo@Bücher.example": other, "cy@example.com": queued})
    refresh(status)
    assert {address: one.status for address, one in status.recipients.items()} == {
        "Ann@example.com": "delivered",
        "bo@Bücher.example": "bounced",
        "cy@example.com": "queued",
    }
    assert status.status == {"delivered", "bounced", "queued"}
    assert status.message_id == {last_message_id(), uuid.UUID(last_message_id())}


def test_refresh_keeps_the_status_of_recipients_outside_the_outbox(database: str) -> None:
    put_in_outbox()
    receive_events(event_of_last_mail(1, "delivered"))
    status = given(
        **{
            "ann@example.com": RecipientStatus(None, "queued"),
            "bo@example.com": RecipientStatus(last_message_id(), "sent"),
            "cy@example.com": RecipientStatus(str(uuid.uuid4()), "sent"),
        }
    )
    before = dict(status.recipients)
    refresh(status)
    assert status.recipients == before


def test_refresh_of_an_empty_status_does_nothing(database: str) -> None:
    status = SendStatus()
    refresh(status)
    assert (status.recipients, status.status, status.message_id) == ({}, None, None)


def test_refresh_of_thousands_of_recipients_reads_in_slices(database: str) -> None:
    put_in_outbox(mail(*(f"p{number}@example.net" for number in range(2500)), batch=True))
    Recipient.objects.filter(address="p2400@example.net").update(status="bounced", rank=6)
    status = given(**{address: RecipientStatus(one, "queued") for address, one in ids().items()})
    refresh(status)
    assert [address for address, one in status.recipients.items() if one.status == "bounced"] == [
        "p2400@example.net"
    ]
