"""A worker leaves out who was suppressed after `send()`, just before the post."""

import uuid
from collections.abc import Callable

import pytest
from cryptography.fernet import Fernet
from django.db import OperationalError, connections
from django.test.utils import CaptureQueriesContext

from events_app import tasks
from events_app.events import TrackingEvent
from events_app.models import Event
from events_app.shared import own_events
from events_app.shared.personal_data.pseudonyms import pseudonym
from events_app.signals import ReceiverSignal
from fake_sendgrid.server import FakeSendGrid
from sending_app import outbox
from sending_app.account import usable
from sending_app.delivery import leases, reconcile
from sending_app.exceptions import Outcome
from sending_app.mail import ComposedMail
from sending_app.models import Mail, OpenCircuit, Recipient, Suppression
from sending_app.outcome import manual, record, rejections, resend
from tests.support.recorded_calls import recorded_signals
from tests.support.sending.delivery import accepted_outcome, deliver, outcome_of, take_lease
from tests.support.sending.mail_events import event_payload, receive_events, stored_recipients
from tests.support.sending.outbox_mails import mail, only_part, put_in_outbox
from tests.support.sending.suppressions import suppress

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

State = Mail.State

ANN, BOB = "ann@example.com", "bob@example.com"

KEY = Fernet.generate_key().decode()


@pytest.fixture(autouse=True)
def suppression(anymail: Callable[..., None], sendgrid: FakeSendGrid) -> None:
    anymail(SUPPRESSION=True)


def due_now() -> None:
    Mail.objects.update(due=only_part().created_at)


def recipients_of(sendgrid: FakeSendGrid) -> list[list[str]]:
    return [
        [
            address["email"]
            for personalization in request.body["personalizations"]
            for address in personalization["to"]
        ]
        for request in sendgrid.accepted
    ]


def statuses() -> list[tuple[str, str]]:
    return [(one.status, one.reject_reason) for one in stored_recipients()]


def test_the_id_of_an_event_does_not_let_anybody_check_an_address(database: str) -> None:
    """An erasure leaves the ids of events and messages."""
    put_in_outbox(mail(ANN, BOB))
    suppress(ANN)
    deliver()
    event = Event.objects.get()
    assert event.event_id != str(uuid.uuid5(uuid.UUID(event.message_id), ANN))
    assert uuid.UUID(event.event_id)


@pytest.mark.parametrize("content", [mail(ANN, BOB), mail(ANN, BOB, batch=True)], ids=["together", "batch"])
def test_the_others_get_the_mail(
    database: str, sendgrid: FakeSendGrid, tracking: ReceiverSignal, content: ComposedMail
) -> None:
    told: list[TrackingEvent] = []
    tracking.connect(lambda event, **_: told.append(event), weak=False, dispatch_uid="told")
    put_in_outbox(content)
    suppress(ANN, "spam")
    assert deliver() == {"accepted": 1}
    assert recipients_of(sendgrid) == [[BOB]]
    row = only_part()
    assert (row.state, row.recipient_count) == ("accepted", 1)
    assert [entry["what"] for entry in row.log] == ["Suppressed recipients were left out (1)."]
    assert statuses() == [("rejected", "spam"), ("queued", "")]
    tasks.drain()
    assert [(event.recipient, event.event_type, event.reject_reason) for event in told] == [
        (ANN, "rejected", "spam")
    ]
    assert told[0].message_id == str(stored_recipients()[0].message_id)


def test_a_mail_with_nobody_left_is_rejected(database: str, sendgrid: FakeSendGrid) -> None:
    put_in_outbox(mail(ANN, cc=[BOB]))
    suppress(ANN)
    with recorded_signals() as recorded:
        assert deliver() == {"rejected": 1}
    assert (sendgrid.requests, recorded.signals) == ([], [])
    row = only_part()
    assert (row.state, row.error, row.recipient_count) == ("rejected", outbox.ALL_SUPPRESSED, 2)
    assert row.finished_at is not None
    assert statuses() == [("rejected", "bounced"), ("rejected", "other")]
    assert Event.objects.filter(webhook=own_events.WEBHOOK).count() == 2
    assert deliver() == {}
    assert not reconcile.anything_to_reconcile()


def test_a_clean_mail_costs_no_query_more(
    database: str, sendgrid: FakeSendGrid, anymail: Callable[..., None]
) -> None:
    suppress(BOB)
    numbers = []
    for on in (False, True):
        anymail(SUPPRESSION=on)
        put_in_outbox()
        with CaptureQueriesContext(connections[database]) as queries:
            deliver()
        numbers.append(len(queries))
    assert numbers[0] == numbers[1]


def test_a_rejected_probe_lets_another_mail_probe_at_once(database: str, sendgrid: FakeSendGrid) -> None:
    put_in_outbox(mail(ANN))
    suppress(ANN)
    now = only_part().created_at
    (account,) = usable()
    OpenCircuit.objects.create(
        account=account.fingerprint, alias=account.alias, opened_at=now, probe_at=now, failures=1
    )
    assert deliver() == {"rejected": 1}
    put_in_outbox(mail(BOB))
    assert deliver() == {"accepted": 1}
    assert not OpenCircuit.objects.exists()


def test_a_suppression_in_another_scope_holds_nothing_back(database: str, sendgrid: FakeSendGrid) -> None:
    suppress(ANN, "unsubscribed", "news")
    put_in_outbox(mail(ANN))
    assert take_lease().is_any_suppressed
    Mail.objects.update(state=State.WAITING)
    due_now()
    assert deliver() == {"accepted": 1}
    assert not Event.objects.exists()


def test_without_the_setting_workers_look_up_nothing(
    database: str, sendgrid: FakeSendGrid, anymail: Callable[..., None]
) -> None:
    anymail(SUPPRESSION=False)
    suppress(ANN)
    put_in_outbox(mail(ANN))
    assert deliver() == {"accepted": 1}


def test_who_was_left_out_before_is_not_looked_up_again(database: str, sendgrid: FakeSendGrid) -> None:
    put_in_outbox(mail(ANN, BOB))
    suppress(ANN)
    assert rejections.leave_out_suppressed(take_lease().mail)
    Mail.objects.update(state=State.WAITING)
    due_now()
    assert not take_lease().is_any_suppressed


def test_a_fault_of_the_database_changes_nothing_and_the_mail_is_retried(
    database: str, sendgrid: FakeSendGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_outbox(mail(ANN, BOB))
    suppress(ANN)

    def be_away(_events: object) -> None:
        raise OperationalError

    with monkeypatch.context() as patched:
        patched.setattr(own_events, "keep", be_away)
        assert deliver() == {"retry": 1}
    assert statuses() == [("queued", ""), ("queued", "")]
    assert only_part().recipient_count == 2
    due_now()
    assert deliver() == {"accepted": 1}
    assert recipients_of(sendgrid) == [[BOB]]


def test_an_attempt_that_lost_its_lease_posts_nothing(database: str, sendgrid: FakeSendGrid) -> None:
    for recipients in ([ANN], [ANN, BOB]):
        put_in_outbox(mail(*recipients))
        leased = take_lease()
        suppress(ANN)
        Mail.objects.filter(pk=leased.mail.pk).update(attempt_token=1)
        assert not rejections.leave_out_suppressed(leased.mail)
    assert {status for status, _ in statuses()} == {"queued"}
    assert not Event.objects.exists()


def test_a_mail_that_sendgrid_has_is_not_rejected(database: str, sendgrid: FakeSendGrid) -> None:
    put_in_outbox(mail(ANN))
    leased = take_lease()
    receive_events(event_payload("processed", stored_recipients()[0]))
    suppress(ANN)
    assert not rejections.leave_out_suppressed(leased.mail)
    assert only_part().state == "accepted"
    assert statuses() == [("queued", "")]


def test_events_of_an_earlier_attempt_accept_a_rejected_mail(database: str, sendgrid: FakeSendGrid) -> None:
    put_in_outbox(mail(ANN))
    record.record_result(take_lease().mail, outcome_of(Outcome.UNKNOWN))
    Mail.objects.update(state=State.WAITING)
    suppress(ANN)
    due_now()
    assert deliver() == {"rejected": 1}
    receive_events(event_payload("delivered", stored_recipients()[0]))
    assert only_part().state == "accepted"
    assert statuses() == [("delivered", "")]


def test_a_late_202_of_an_earlier_attempt_accepts_a_rejected_mail(
    database: str, sendgrid: FakeSendGrid
) -> None:
    put_in_outbox(mail(ANN))
    slow = take_lease().mail
    Mail.objects.update(state=State.WAITING)
    suppress(ANN)
    due_now()
    assert deliver() == {"rejected": 1}
    record.record_result(slow, accepted_outcome())
    assert only_part().state == "accepted"
    assert statuses() == [("queued", "")]


# An operator


def rejected() -> Mail:
    put_in_outbox(mail(ANN, BOB))
    suppress(ANN)
    suppress(BOB)
    assert deliver() == {"rejected": 1}
    return only_part()


def test_a_rejected_mail_that_is_retried_is_looked_up_again(database: str, sendgrid: FakeSendGrid) -> None:
    row = rejected()
    assert manual.retry_mails([row.pk])["retried"] == 1
    assert statuses() == [("queued", ""), ("queued", "")]
    assert deliver() == {"rejected": 1}
    assert statuses() == [("rejected", "bounced")] * 2
    Suppression.objects.filter(address=ANN).update(active=False)
    manual.retry_mails([row.pk])
    assert deliver() == {"accepted": 1}
    assert recipients_of(sendgrid) == [[ANN]]
    assert statuses() == [("queued", ""), ("rejected", "bounced")]
    assert only_part().finished_at is not None


def test_the_suppression_of_an_erased_person_holds_when_a_mail_is_retried_or_sent_again(
    database: str, sendgrid: FakeSendGrid, anymail: Callable[..., None]
) -> None:
    anymail(PERSONAL_DATA_KEY="k" * 32)
    suppress(pseudonym(ANN), "unsubscribed")
    put_in_outbox(mail(ANN))
    assert deliver() == {"rejected": 1}
    pk = only_part().pk
    manual.retry_mails([pk])
    assert deliver() == {"rejected": 1}
    resend.resend_mails([pk], uuid.uuid4())
    assert deliver() == {"rejected": 1}
    assert sendgrid.requests == []


def test_without_its_key_a_rejected_mail_that_is_retried_waits_and_is_looked_up_again(
    database: str, sendgrid: FakeSendGrid, anymail: Callable[..., None]
) -> None:
    anymail(OUTBOX_ENCRYPTION_KEYS=[KEY])
    row = rejected()
    anymail(OUTBOX_ENCRYPTION_KEYS=[])
    assert manual.retry_mails([row.pk])["retried"] == 1
    assert deliver() == {"retry": 1}
    anymail(OUTBOX_ENCRYPTION_KEYS=[KEY])
    due_now()
    assert deliver() == {"rejected": 1}


def test_a_rejected_mail_without_its_key_costs_the_neighbours_no_feedback(
    database: str, sendgrid: FakeSendGrid, anymail: Callable[..., None]
) -> None:
    anymail(OUTBOX_ENCRYPTION_KEYS=[KEY])
    row = rejected()
    put_in_outbox(mail("eve@example.com"))
    anymail(OUTBOX_ENCRYPTION_KEYS=[])
    receive_events(*(event_payload("delivered", one) for one in stored_recipients()))
    assert Mail.objects.get(pk=row.pk).state == "accepted"
    assert statuses() == [("delivered", "")] * 3


def test_a_rejected_mail_without_content_is_not_retried(database: str, sendgrid: FakeSendGrid) -> None:
    row = rejected()
    Mail.objects.update(personalizations=None)
    counts = manual.retry_mails([row.pk])
    assert (counts["retried"], counts["empty"]) == (0, 1)


def test_a_rejected_mail_can_be_sent_again_as_a_new_mail(database: str, sendgrid: FakeSendGrid) -> None:
    row = rejected()
    Suppression.objects.update(active=False)
    assert resend.resend_mails([row.pk], uuid.uuid4())["resent"] == 1
    assert deliver() == {"accepted": 1}
    assert recipients_of(sendgrid) == [[ANN, BOB]]
    assert Mail.objects.get(pk=row.pk).state == "rejected"


def test_a_rejected_mail_is_neither_cancelled_nor_settled(database: str, sendgrid: FakeSendGrid) -> None:
    pk = rejected().pk
    assert not manual.cancel_mails([pk])["cancelled"]
    assert not manual.park_mails([pk])["parked"]
    assert not manual.settle_mails([pk], sent=True)["settled"]
    assert leases.acquire(Mail.Lane.MAIL) is None
    assert Recipient.objects.filter(status="rejected").count() == 2
