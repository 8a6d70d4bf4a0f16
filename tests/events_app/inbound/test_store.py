"""A saved post is read, its columns are filled, and each receiver gets the mail."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.core.files.storage import storages
from django.db import OperationalError, connections
from pytest_django import Settings

from events_app import signals
from events_app.dispatch import dispatcher, leases, replay
from events_app.dispatch.leases import Lease
from events_app.inbound import storage, store
from events_app.inbound.parse.form import Form
from events_app.inbound.parse.post import ParsedPost
from events_app.inbound.store import INBOUND_MAILS
from events_app.models import InboundMail, PendingInboundDelivery
from events_app.shared import counters
from events_app.shared.database import DatabaseUnavailable
from events_app.signals import AnymailInboundEvent, InboundEvent, InboundSignal
from events_app.views import SendGridInboundWebhookView
from fake_sendgrid import inbound_form as posts
from tests.support.inbound.mails import deliver_mails, keep_mail, sample_mail

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


class Desk:
    """A receiver that keeps what it is called with."""

    def __init__(
        self, signal: InboundSignal, name: str = "desk", fails: int = 0, to: str | None = None
    ) -> None:
        self.calls: list[dict[str, Any]] = []
        self.fails = fails
        signal.connect(self, dispatch_uid=name, weak=False, to=to)

    @property
    def events(self) -> list[InboundEvent]:
        return [call["event"] for call in self.calls]

    def __call__(self, **told: Any) -> None:
        self.calls.append(told)
        if len(self.calls) <= self.fails:
            raise RuntimeError("the desk is closed")


@pytest.fixture(params=[False, True], ids=["one by one", "in one transaction"])
def either_way(request: pytest.FixtureRequest, anymail: Callable[..., None]) -> None:
    """With ATOMIC_DISPATCH and without."""
    anymail(ATOMIC_DISPATCH=request.param)


either = pytest.mark.usefixtures("either_way")


@pytest.fixture
def answers() -> Iterator[list[object]]:
    """What whoever keeps our messages says; an exception is raised."""
    said: list[object] = []

    def receiver(**_: Any) -> object:
        found = said.pop(0) if said else None
        if isinstance(found, Exception):
            raise found
        return found

    connected, signals.answered.receivers = signals.answered.receivers, []
    signals.answered.connect(receiver)
    yield said
    signals.answered.receivers = connected
    signals.answered.sender_receivers_cache.clear()


def work() -> PendingInboundDelivery:
    return PendingInboundDelivery.objects.get()


def deliver_retries() -> bool:
    """Run one worker's delivery of all retries and replays, due or not."""
    PendingInboundDelivery.objects.update(due=work().due - leases.lease_duration() * 100)
    lease = Lease(kind=INBOUND_MAILS)
    return dispatcher.deliver(leases.take_retries(lease, 10), lease)


# keep


def test_a_stored_post_is_pending(database: str) -> None:
    mail = keep_mail(sample_mail())
    assert (mail.webhook, mail.key, mail.message_id, mail.duplicate_of_id) == ("inbound", None, "", None)
    assert (work().mail_id, work().state, work().lease) == (mail.pk, "pending", None)
    assert leases.anything_released(INBOUND_MAILS)
    assert not leases.anything_released()


# read


@either
def test_a_receiver_is_called_with_the_arguments_of_anymail(database: str, inbound: InboundSignal) -> None:
    desk = Desk(inbound)
    mail = keep_mail(posts.parsed_form(sample_mail(), spam=6.5))
    assert deliver_mails()
    (call,) = desk.calls
    assert call == {
        "event": desk.events[0],
        "signal": inbound,
        "sender": SendGridInboundWebhookView,
        "esp_name": "SendGrid",
        "attempt": 1,
        "replay": False,
    }
    assert not PendingInboundDelivery.objects.exists()
    assert InboundMail.objects.get() == mail


@either
def test_a_delivered_mail_has_an_event_and_recorded_columns(
    database: str, inbound: InboundSignal, answers: list[object]
) -> None:
    desk = Desk(inbound)
    answers.append("our-id")
    mail = keep_mail(posts.raw_form(sample_mail(), envelope_to=["Desk@parse.example.com"], spam=6.5))
    deliver_mails()
    (event,) = desk.events
    assert isinstance(event, AnymailInboundEvent)
    assert (event.event_type, event.event_id, event.timestamp) == ("inbound", str(mail.pk), mail.received_at)
    assert (event.answers, event.duplicate_of) == ("our-id", None)
    assert event.esp_event["SPF"] == "pass"
    assert "email" not in event.esp_event
    assert event.message.subject == "A question"
    assert event.message.spam_detected is True
    noted = InboundMail.objects.get()
    assert (noted.message_id, noted.answers) == ("<1@mail.example.org>", "our-id")
    assert (noted.sender, noted.recipient) == ("zoe@example.org", "desk@parse.example.com")
    assert noted.subject == "A question"


@either
def test_each_receiver_gets_its_own_message(database: str, inbound: InboundSignal) -> None:
    one, other = Desk(inbound, "one"), Desk(inbound, "other")
    keep_mail(sample_mail())
    deliver_mails()
    assert one.events[0].message is not other.events[0].message
    assert one.events[0].message.as_bytes() == other.events[0].message.as_bytes()


@either
def test_only_the_failed_receiver_is_retried(database: str, inbound: InboundSignal) -> None:
    one, other = Desk(inbound, "one", fails=1), Desk(inbound, "other")
    keep_mail(sample_mail())
    deliver_mails()
    assert work().receivers.keys() == {"one"}
    assert deliver_retries()
    assert [call["attempt"] for call in one.calls] == [1, 2]
    assert len(other.calls) == 1
    assert not PendingInboundDelivery.objects.exists()


# Routes


@either
def test_a_routed_mail_reaches_the_receivers_of_its_routes_and_the_failed_receiver_is_retried(
    database: str, inbound: InboundSignal
) -> None:
    plain = Desk(inbound, "plain")
    support, archive = Desk(inbound, "support", fails=1, to="support+*@*"), Desk(inbound, "archive", to="s*")
    keep_mail(posts.raw_form(sample_mail(), envelope_to=["Support+12@parse.example.com"]))
    keep_mail(posts.raw_form(sample_mail(2), envelope_to=["desk@parse.example.com"]))
    assert deliver_mails()
    assert work().receivers.keys() == {"support"}
    assert "the desk is closed" in work().receivers["support"]
    assert deliver_retries()
    assert [call["attempt"] for call in support.calls] == [1, 2]
    assert [event.message.message_id for event in archive.events] == ["<1@mail.example.org>"]
    assert [event.message.message_id for event in plain.events] == ["<2@mail.example.org>"]
    assert not PendingInboundDelivery.objects.exists()


@either
def test_a_replay_calls_the_named_receiver_whatever_the_routes_say(
    database: str, inbound: InboundSignal
) -> None:
    plain, support = Desk(inbound, "plain"), Desk(inbound, "support", to="support@*")
    mail = keep_mail(posts.raw_form(sample_mail(), envelope_to=["support@parse.example.com"]))
    deliver_mails()
    for names in ((), ("plain",)):
        assert replay.replay([mail.pk], names, INBOUND_MAILS)["replayed"] == 1
        assert deliver_retries()
    assert replay.connected_receivers(INBOUND_MAILS) == ["plain", "support"]
    assert (len(plain.calls), len(support.calls)) == (1, 2)


@either
def test_a_mail_that_no_receiver_takes_is_done(database: str, inbound: InboundSignal) -> None:
    desk = Desk(inbound, to="support@*")
    keep_mail(sample_mail())
    assert deliver_mails()
    assert (desk.calls, PendingInboundDelivery.objects.exists()) == ([], False)


# Repeats


def test_a_duplicate_mail_is_marked_and_delivered(database: str, inbound: InboundSignal) -> None:
    desk = Desk(inbound)
    first, again = (
        keep_mail(posts.parsed_form(sample_mail())),
        keep_mail(posts.parsed_form(sample_mail(), spam=0.1)),
    )
    keep_mail(sample_mail(2))
    deliver_mails()
    assert [event.duplicate_of for event in desk.events] == [None, str(first.pk), None]
    assert InboundMail.objects.get(duplicate_of=first) == again
    assert counters.read_counters()["inbound_duplicate"] == 1


def test_a_duplicate_is_marked_against_the_first_post_in_any_reading_order(database: str) -> None:
    first, again = keep_mail(sample_mail()), keep_mail(sample_mail())
    store.read_mail(InboundMail.objects.get(pk=again.pk))
    assert not InboundMail.objects.exclude(duplicate_of=None).exists()
    store.read_mail(InboundMail.objects.get(pk=first.pk))
    assert InboundMail.objects.get(duplicate_of=first) == again
    assert counters.read_counters()["inbound_duplicate"] == 1


def test_a_duplicate_is_marked_after_a_database_outage_while_its_key_was_recorded(
    database: str, inbound: InboundSignal
) -> None:
    desk = Desk(inbound)
    first, again = keep_mail(sample_mail()), keep_mail(sample_mail())
    store.read_mail(InboundMail.objects.get(pk=first.pk))
    PendingInboundDelivery.objects.get(pk=first.pk).delete()
    with _away_after_the_first_update(database), pytest.raises(DatabaseUnavailable):
        deliver_mails()
    again.refresh_from_db()
    assert (again.key is None, again.duplicate_of_id) == (False, None)
    dispatcher.recover(Lease(kind=INBOUND_MAILS), yields=lambda: False)
    assert [event.duplicate_of for event in desk.events] == [str(first.pk)]
    assert InboundMail.objects.get(duplicate_of=first) == again
    assert counters.read_counters()["inbound_duplicate"] == 1


@contextmanager
def _away_after_the_first_update(database: str) -> Iterator[None]:
    noted = False

    def wrapper(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        nonlocal noted
        if noted and "events_app_inboundmail" in sql and not sql.startswith("UPDATE"):
            raise OperationalError("away")
        found = execute(sql, *rest)
        noted = noted or sql.startswith('UPDATE "events_app_inboundmail"')
        return found

    with connections[database].execute_wrapper(wrapper):
        yield


# Answers


def test_an_error_while_matching_a_reply_does_not_stop_the_delivery(
    database: str, inbound: InboundSignal, answers: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(inbound)
    answers.append(ValueError("zoe@example.org"))
    keep_mail(sample_mail())
    deliver_mails()
    assert [event.answers for event in desk.events] == [None]
    assert "ValueError" in caplog.text
    assert "zoe@" not in caplog.text


def test_a_database_outage_while_matching_a_reply_counts_no_failure(
    database: str, inbound: InboundSignal, answers: list[object]
) -> None:
    desk = Desk(inbound)
    answers.append(OperationalError("away"))
    keep_mail(sample_mail())
    with pytest.raises(DatabaseUnavailable):
        deliver_mails()
    assert (work().failures, work().worker_deaths, work().state) == (0, 0, "pending")
    dispatcher.recover(Lease(kind=INBOUND_MAILS), yields=lambda: False)
    assert [call["attempt"] for call in desk.calls] == [1]
    assert not PendingInboundDelivery.objects.exists()


# What cannot be read


@pytest.mark.parametrize("atomic", [False, True])
def test_a_post_that_is_no_mail_becomes_a_dead_letter_with_a_reason(
    database: str, inbound: InboundSignal, anymail: Callable[..., None], atomic: bool
) -> None:
    anymail(ATOMIC_DISPATCH=atomic)
    desk = Desk(inbound)
    keep_mail(b"nothing of the kind")
    keep_mail(sample_mail())
    deliver_mails()
    assert work().state == "dead"
    assert work().error
    assert [event.message.subject for event in desk.events] == ["A question"]


@either
def test_an_internal_error_schedules_a_retry_of_only_its_own_mail(
    database: str,
    inbound: InboundSignal,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = Desk(inbound)
    mail = keep_mail(sample_mail(1))
    keep_mail(sample_mail(2))

    def look(one: InboundMail) -> ParsedPost:
        if one.pk == mail.pk:
            raise ZeroDivisionError("zoe@example.org")
        return looked(one)

    looked = store.parse_mail
    with monkeypatch.context() as patch:
        patch.setattr(store, "parse_mail", look)
        assert deliver_mails()
    assert [event.message.message_id for event in desk.events] == ["<2@mail.example.org>"]
    assert (work().state, work().lease, work().failures, work().worker_deaths) == ("pending", None, 1, 0)
    assert work().error == "Could not read the inbound mail: ZeroDivisionError: zoe@example.org"
    assert f"Could not read inbound mail {mail.pk}: ZeroDivisionError" in caplog.text
    assert "zoe@" not in caplog.text
    _retry()
    assert not PendingInboundDelivery.objects.exists()


def test_the_soft_time_limit_while_reading_ends_the_task(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(_: InboundMail) -> ParsedPost:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(store, "parse_mail", look)
    keep_mail(sample_mail())
    with pytest.raises(SoftTimeLimitExceeded):
        deliver_mails()
    assert (work().state, work().failures, work().lease is None) == ("pending", 0, False)


def test_a_mail_that_takes_too_long_to_read_becomes_a_dead_letter_at_once(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(_: Form) -> ParsedPost:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(store, "read_post", read)
    monkeypatch.setattr(store, "LONGEST_READING", 0)
    keep_mail(sample_mail())
    deliver_mails()
    assert (work().state, work().error) == ("dead", "The mail takes more than 0 seconds to be read.")


def test_a_missing_file_schedules_a_retry_with_backoff(database: str, inbound: InboundSignal) -> None:
    Desk(inbound)
    mail = keep_mail(sample_mail())
    storages[storage.ALIAS].delete(mail.file)
    deliver_mails()
    assert (work().state, work().failures) == ("pending", 1)
    assert work().error.startswith("The file with the post is not in the storage.")


def test_a_file_with_a_wrong_digest_schedules_a_retry_with_backoff(
    database: str, inbound: InboundSignal
) -> None:
    desk = Desk(inbound)
    keep_mail(sample_mail())
    InboundMail.objects.update(digest=bytes(32))
    deliver_mails()
    assert (work().state, work().failures, desk.calls) == ("pending", 1, [])
    assert work().error.startswith("The file in the storage was changed")


def test_a_missing_storage_setting_schedules_a_retry_with_advice(
    database: str, inbound: InboundSignal, settings: Settings
) -> None:
    Desk(inbound)
    keep_mail(sample_mail())
    settings.STORAGES = {name: one for name, one in settings.STORAGES.items() if name != storage.ALIAS}
    deliver_mails()
    assert (work().state, work().failures) == ("pending", 1)
    assert 'STORAGES has no "sendgrid_inbound"' in work().error


def test_a_storage_outage_schedules_retries_until_it_is_back(
    database: str, inbound: InboundSignal, monkeypatch: pytest.MonkeyPatch, anymail: Callable[..., None]
) -> None:
    anymail(RECEIVER_MAX_ATTEMPTS=3)
    desk = Desk(inbound)
    keep_mail(sample_mail())

    def away(name: str) -> bytes:
        raise ConnectionResetError("https://key:secret@storage")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "read_file", away)
        deliver_mails()
        assert (work().state, work().failures, work().receivers) == ("pending", 1, {})
        assert work().error == "The storage did not give the post: ConnectionResetError."
        _retry()
    assert work().failures == 2
    _retry()
    assert [call["attempt"] for call in desk.calls] == [3]
    assert not PendingInboundDelivery.objects.exists()


def test_a_lasting_storage_outage_makes_a_dead_letter_with_a_reason(
    database: str, inbound: InboundSignal, monkeypatch: pytest.MonkeyPatch, anymail: Callable[..., None]
) -> None:
    anymail(RECEIVER_MAX_ATTEMPTS=2)
    Desk(inbound)
    keep_mail(sample_mail())

    def away(name: str) -> bytes:
        raise OSError("away")

    monkeypatch.setattr(storage, "read_file", away)
    deliver_mails()
    _retry()
    assert work().state == "dead"
    assert work().error == "Given up: tried 2 times. The storage did not give the post: OSError."


def _retry() -> None:
    PendingInboundDelivery.objects.update(due=work().due - leases.lease_duration() * 100)
    lease = Lease(kind=INBOUND_MAILS)
    dispatcher.deliver(leases.take_retries(lease, 10), lease)
