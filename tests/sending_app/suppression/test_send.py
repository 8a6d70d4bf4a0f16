"""`send()` leaves suppressed recipients out: with the queue, directly, and in a test run."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from events_app import tasks
from events_app.events import TrackingEvent
from events_app.models import Event
from events_app.signals import ReceiverSignal
from fake_sendgrid.server import FakeSendGrid
from sending_app.exceptions import AnymailRecipientsRefused, RecipientsRefused
from sending_app.models import Mail, Recipient
from tests.support.databases import database_away
from tests.support.recorded_calls import recorded_signals
from tests.support.sending.django_mail import (
    DIRECT,
    LOCMEM,
    QUEUED,
    connection_of,
    django_message,
    post_due_mail,
    use_backend,
)
from tests.support.sending.suppressions import suppress

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

ANN, BOB, CAT = "ann@example.com", "bob@example.com", "cat@example.com"

BACKENDS = pytest.mark.parametrize("backend", [DIRECT, QUEUED, LOCMEM], ids=["direct", "queued", "locmem"])


@pytest.fixture(autouse=True)
def suppression(anymail: Callable[..., None], sendgrid: FakeSendGrid) -> None:
    anymail(SUPPRESSION=True)


@pytest.fixture
def told(tracking: ReceiverSignal) -> list[TrackingEvent]:
    """The events that a receiver gets."""
    events: list[TrackingEvent] = []
    tracking.connect(lambda event, **_: events.append(event), weak=False, dispatch_uid="told")
    return events


@pytest.fixture
def posted(sendgrid: FakeSendGrid) -> Callable[[], list[list[str]]]:
    """The recipients of each posted personalization, after workers have posted."""

    def read() -> list[list[str]]:
        post_due_mail()
        bodies = [request.body for request in sendgrid.accepted]
        bodies += [body for sent in getattr(mail, "outbox", []) for body in sent.sendgrid_requests]
        return [
            [address["email"] for field in ("to", "cc", "bcc") for address in personalization.get(field, [])]
            for body in bodies
            for personalization in body["personalizations"]
        ]

    return read


def statuses(message: Any) -> dict[str, str]:
    return {address: one.status for address, one in message.anymail_status.recipients.items()}


@BACKENDS
def test_a_suppressed_recipient_is_left_out_and_told(
    database: str,
    backend: str,
    settings: Settings,
    posted: Callable[[], list[list[str]]],
    told: list[TrackingEvent],
) -> None:
    use_backend(settings, backend)
    suppress(ANN, "spam")
    suppress(CAT, "unsubscribed")
    message = django_message(
        to=["Ann <Ann@Example.com>", BOB], cc=[CAT], tags=["orders"], metadata={"order": 17, "event": "x"}
    )
    assert message.send() == 1
    assert statuses(message) == {"Ann@Example.com": "rejected", BOB: "queued", CAT: "rejected"}
    assert posted() == [[BOB]]
    tasks.drain()
    told.sort(key=lambda event: event.recipient or "")
    assert [(event.recipient, event.event_type, event.reject_reason) for event in told] == [
        ("Ann@Example.com", "rejected", "spam"),
        (CAT, "rejected", "unsubscribed"),
    ]
    assert {event.message_id for event in told} == {message.anymail_status.message_id}
    assert (told[0].tags, told[0].metadata) == (["orders"], {"order": "17"})


@BACKENDS
def test_a_message_with_nobody_left_raises(
    database: str,
    backend: str,
    settings: Settings,
    posted: Callable[[], list[list[str]]],
    told: list[TrackingEvent],
) -> None:
    use_backend(settings, backend)
    suppress(ANN)
    message = django_message(to=[ANN], cc=[BOB])
    with recorded_signals() as recorded, pytest.raises(RecipientsRefused) as raised:
        message.send()
    assert raised.value.email_message is message
    assert isinstance(raised.value, AnymailRecipientsRefused)
    assert statuses(message) == {ANN: "rejected", BOB: "rejected"}
    assert (posted(), recorded.signals) == ([], [])
    tasks.drain()
    assert {(event.recipient, event.reject_reason) for event in told} == {(ANN, "bounced"), (BOB, "other")}


@BACKENDS
@pytest.mark.parametrize("how", ["setting", "fail_silently"])
def test_nobody_left_is_no_error_on_request(
    database: str, backend: str, how: str, settings: Settings, anymail: Callable[..., None]
) -> None:
    use_backend(settings, backend)
    suppress(ANN)
    if how == "setting":
        anymail(IGNORE_RECIPIENT_STATUS=True)
        assert django_message().send() == 1
    else:
        message = django_message()
        assert connection_of(fail_silently=True).send_messages([message]) == 0
        assert statuses(message) == {ANN: "rejected"}


@BACKENDS
def test_every_copy_of_a_batch_is_screened(
    database: str, backend: str, settings: Settings, posted: Callable[[], list[list[str]]]
) -> None:
    use_backend(settings, backend)
    suppress(BOB)
    message = django_message(to=[ANN, BOB], cc=[CAT], merge_data={})
    message.send()
    assert posted() == [[ANN, CAT]]
    assert statuses(message) == {ANN: "queued", BOB: "rejected", CAT: "queued"}
    recipients = message.anymail_status.recipients
    assert recipients[CAT].message_id == recipients[ANN].message_id != recipients[BOB].message_id


@BACKENDS
def test_personalizations_of_the_caller_are_screened(
    database: str, backend: str, settings: Settings, posted: Callable[[], list[list[str]]]
) -> None:
    use_backend(settings, backend)
    suppress(BOB)
    each = [{"to": [{"email": ANN}, {"email": BOB}], "cc": [{"email": BOB}]}, {"to": [{"email": BOB}]}]
    message = django_message(esp_extra={"personalizations": each})
    message.send()
    assert posted() == [[ANN]]
    assert statuses(message) == {ANN: "queued", BOB: "rejected"}


def test_an_address_with_a_domain_of_other_letters_is_found(database: str, settings: Settings) -> None:
    use_backend(settings, QUEUED)
    suppress("ann@xn--mller-kva.example")
    message = django_message(to=["ann@müller.example", BOB])
    message.send()
    assert statuses(message) == {"ann@müller.example": "rejected", BOB: "queued"}


def test_without_the_setting_nobody_is_left_out(
    database: str, settings: Settings, anymail: Callable[..., None], posted: Callable[[], list[list[str]]]
) -> None:
    anymail(SUPPRESSION=False)
    use_backend(settings, QUEUED)
    suppress(ANN)
    with CaptureQueriesContext(connections[database]) as queries:
        django_message().send()
    assert posted() == [[ANN]]
    assert not any("suppression" in query["sql"] for query in queries.captured_queries)


def test_an_id_that_is_not_sent_is_not_told(
    database: str, settings: Settings, anymail: Callable[..., None], told: list[TrackingEvent]
) -> None:
    anymail(SENDGRID_GENERATE_MESSAGE_ID=False)
    use_backend(settings, QUEUED)
    suppress(ANN)
    message = django_message(to=[ANN, BOB])
    message.send()
    assert message.anymail_status.recipients[ANN].message_id is None
    assert Recipient.objects.get(address=ANN).status == "rejected"
    tasks.drain()
    assert [event.message_id for event in told] == [None]


# The outbox


def test_the_outbox_has_all_recipients_and_posts_to_those_who_are_left(
    database: str, settings: Settings
) -> None:
    use_backend(settings, QUEUED)
    suppress(ANN, "spam")
    django_message(to=[ANN, BOB]).send()
    row = Mail.objects.get()
    assert (row.state, row.recipient_count, row.error) == ("waiting", 1, "")
    columns = ("address", "status", "rank", "reject_reason")
    assert list(Recipient.objects.order_by("pk").values_list(*columns)) == [
        (ANN, "rejected", 5, "spam"),
        (BOB, "queued", 0, ""),
    ]
    assert Recipient.objects.get(address=ANN).status_at is not None


def test_a_mail_with_nobody_left_stays_for_an_operator(
    database: str, settings: Settings, anymail: Callable[..., None]
) -> None:
    anymail(IGNORE_RECIPIENT_STATUS=True)
    use_backend(settings, QUEUED)
    suppress(ANN)
    django_message().send()
    row = Mail.objects.get()
    assert (row.state, row.recipient_count, row.error) == ("rejected", 1, "Every recipient is suppressed.")
    assert row.finished_at is not None
    assert (row.attempts, Recipient.objects.get().status) == (0, "rejected")


def test_a_rollback_takes_the_rows_and_the_events(database: str, settings: Settings) -> None:
    use_backend(settings, QUEUED)
    suppress(ANN)
    with transaction.atomic(using=database):
        django_message(to=[ANN, BOB]).send()
        assert Event.objects.exists()
        transaction.set_rollback(True, using=database)
    assert not Event.objects.exists()
    assert not Mail.objects.exists()


def test_a_failed_look_that_is_ignored_leaves_the_callers_transaction_usable(
    database: str, settings: Settings
) -> None:
    use_backend(settings, QUEUED)
    with transaction.atomic(using=database):
        with connections[database].cursor() as cursor:
            cursor.execute("ALTER TABLE sending_app_suppression RENAME TO away")
        assert connection_of(fail_silently=True).send_messages([django_message()]) == 0
        assert not Mail.objects.exists()
        transaction.set_rollback(True, using=database)


def test_a_clean_mail_costs_no_query_more_on_postgresql(
    database: str, settings: Settings, anymail: Callable[..., None]
) -> None:
    use_backend(settings, QUEUED)
    numbers = []
    for on in (False, True):
        anymail(SUPPRESSION=on)
        with CaptureQueriesContext(connections[database]) as queries:
            django_message().send()
        numbers.append(len(queries))
    assert numbers[1] == numbers[0] + (database == "default")


# The direct backend


def test_the_direct_backend_sends_although_the_database_is_away(
    database: str,
    settings: Settings,
    posted: Callable[[], list[list[str]]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    use_backend(settings, DIRECT)
    suppress(ANN)
    with database_away(database):
        django_message().send()
    assert posted() == [[ANN]]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "Suppressed recipients are not left out of a mail: OperationalError"
    ]
    assert ANN not in caplog.text


def test_the_direct_backend_sends_in_a_broken_transaction(
    database: str, settings: Settings, posted: Callable[[], list[list[str]]]
) -> None:
    use_backend(settings, DIRECT)
    suppress(ANN)
    with transaction.atomic(using=database):
        transaction.set_rollback(True, using=database)
        django_message().send()
    assert posted() == [[ANN]]


# A test run


def test_in_a_test_run_the_receivers_are_called_at_once(
    database: str, settings: Settings, anymail: Callable[..., None], told: list[TrackingEvent]
) -> None:
    anymail(EAGER_IN_TESTS=True)
    mail.outbox = []
    suppress(ANN)
    for number, backend in enumerate((DIRECT, QUEUED, LOCMEM), 1):
        use_backend(settings, backend)
        django_message(to=[ANN, BOB]).send()
        assert [event.recipient for event in told] == [ANN] * number
        with pytest.raises(RecipientsRefused):
            django_message(to=[ANN]).send()
        del told[-1]
        assert len(mail.outbox) == number
        sent: Any = mail.outbox[-1]
        assert [address.addr_spec for address in sent.anymail_test_params["to"]] == [BOB]
