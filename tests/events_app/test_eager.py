"""In a test run a post's receivers have been called when the webhook answers, and no server is reached."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from asgiref.sync import sync_to_async
from celery import current_app
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, OperationalError, connections, transaction
from django.db.transaction import TransactionManagementError
from django.test import (
    Client,
    LiveServerTestCase,
    SimpleTestCase,
    TestCase,
    TransactionTestCase,
    override_settings,
)
from pytest_django import Settings
from redis import Redis, RedisError

from events_app import signals, tasks
from events_app.inbound.message import InboundMessage
from events_app.models import Event, InboundMail, PendingDelivery, PendingInboundDelivery
from events_app.shared import counters, redis, wakeup
from events_app.shared.counting import count
from events_app.signals import InboundEvent, TrackingEvent
from events_app.testing import (
    drain,
    post_events,
    post_inbound,
    raw_event,
    record_failures,
)
from events_app.views import SendGridTrackingWebhookView
from example_app.models import Bounce
from tests.settings import REDIS_URL
from tests.support.brokers import UNREACHABLE
from tests.support.databases import Router
from tests.support.inbound.storages import stored_files, use_folder
from tests.support.recorded_calls import Recorder

TRACKING = "/anymail/sendgrid/tracking/"


@pytest.fixture(autouse=True)
def test_run(anymail: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of a project that configures nothing for its tests, while no server can be reached."""
    anymail(EAGER_IN_TESTS=True, EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    monkeypatch.setenv("CELERY_BROKER_WRITE_URL", UNREACHABLE)


class Closed(Exception):
    """What a receiver raises."""


def fail(**_: Any) -> None:
    raise Closed("the shop is closed")


MAIL = InboundMessage.construct(from_email="Ann <ann@example.org>", to="desk@example.com", text="Help")


class InTestCase(TestCase):
    """Each test in a transaction that is rolled back, as most tests of a project are."""

    databases = "__all__"
    database = "default"

    def setUp(self) -> None:
        Router.events = self.database

    def tearDown(self) -> None:
        Router.events = "default"

    def pending(self) -> list[tuple[str, int]]:
        return sorted(PendingDelivery.objects.values_list("state", "failures"))

    def test_receivers_have_been_called_when_the_post_returns(self) -> None:
        events: list[TrackingEvent] = []
        arguments: list[dict[str, Any]] = []

        def note(event: TrackingEvent, **others: Any) -> None:
            event.metadata["changed"] = True
            events.append(event)
            arguments.append(others)

        signals.tracking.connect(note, dispatch_uid="first")
        signals.tracking.connect(note, dispatch_uid="second")
        response = post_events(self.client, [raw_event("opened", message_id="m1"), raw_event("clicked")])

        assert response.status_code == 200
        assert [event.event_type for event in events] == ["opened", "opened", "clicked", "clicked"]
        assert len({id(event) for event in events}) == 4
        assert events[0].message_id == "m1"
        expected = {"signal": signals.tracking, "sender": SendGridTrackingWebhookView, "esp_name": "SendGrid"}
        assert arguments == [expected | {"attempt": 1, "replay": False}] * 4
        assert Event.objects.count() == 2
        assert self.pending() == []

    def test_an_event_is_received_at_the_time_of_the_post(self) -> None:
        post_events(self.client, [raw_event()])
        assert abs(Event.objects.get().received_at - datetime.now(UTC)).total_seconds() < 60

    def test_an_event_that_was_stored_before_calls_no_receiver(self) -> None:
        log, event = Recorder(signals.tracking), raw_event()
        for _ in range(2):
            assert post_events(self.client, [event, event]).status_code == 200
        assert len(log.calls) == 1

    def test_an_exception_of_a_receiver_comes_out_of_the_post(self) -> None:
        first, second = raw_event(), raw_event()
        before = Recorder(signals.tracking, "before")
        signals.tracking.connect(fail, dispatch_uid="fails")
        after = Recorder(signals.tracking, "after")

        with pytest.raises(Closed, match="the shop is closed"):
            post_events(self.client, [first, second])

        assert Event.objects.count() == 2
        assert self.pending() == [("pending", 0), ("pending", 1)]
        assert (len(before.calls), len(after.calls)) == (1, 0)
        signals.tracking.disconnect(dispatch_uid="fails")
        signals.tracking.connect(lambda **_: None, dispatch_uid="fails", weak=False)
        assert drain() == 2
        assert before.ids == [first["sg_event_id"], second["sg_event_id"]]
        assert {call.event_id: call.attempt for call in after.calls} == {
            first["sg_event_id"]: 2,
            second["sg_event_id"]: 1,
        }
        assert drain() == 0

    def test_any_exception_of_a_receiver_comes_out_as_it_is(self) -> None:
        for error in (ImproperlyConfigured("x"), OperationalError("y"), KeyboardInterrupt(), KeyError("z")):

            def raise_it(error: BaseException = error, **_: Any) -> None:
                raise error

            signals.tracking.connect(raise_it, dispatch_uid="raises")
            signals.inbound.connect(raise_it, dispatch_uid="raises")
            with pytest.raises(type(error)) as raised:
                post_events(self.client, [raw_event()])
            assert raised.value is error
            with pytest.raises(type(error)) as raised:
                post_inbound(self.client, MAIL)
            assert raised.value is error
            signals.tracking.disconnect(dispatch_uid="raises")
            signals.inbound.disconnect(dispatch_uid="raises")

    def test_a_database_error_of_a_receiver_leaves_the_test_a_usable_transaction(self) -> None:
        def clash(**_: Any) -> None:
            Bounce.objects.using(self.database).create(pk=1)
            Bounce.objects.using(self.database).create(pk=1)

        signals.tracking.connect(clash)
        with pytest.raises(IntegrityError):
            post_events(self.client, [raw_event()])
        assert not Bounce.objects.using(self.database).exists()
        assert self.pending() == [("pending", 1)]

    def test_writes_before_an_exception_stay_as_in_production(self) -> None:
        def write(**_: Any) -> None:
            Bounce.objects.using(self.database).create(pk=1)
            raise Closed

        signals.tracking.connect(write)
        with pytest.raises(Closed):
            post_events(self.client, [raw_event()])
        assert Bounce.objects.using(self.database).count() == 1

    def test_a_receiver_that_goes_on_after_a_database_error_is_told_how_to_handle_it(self) -> None:
        def clash(**_: Any) -> None:
            Bounce.objects.using(self.database).create(pk=1)
            with pytest.raises(IntegrityError):
                Bounce.objects.using(self.database).create(pk=1)

        signals.tracking.connect(clash)
        with pytest.raises(TransactionManagementError, match=r"put the statement into transaction\.atomic"):
            post_events(self.client, [raw_event()])
        assert self.pending() == [("pending", 1)]

    def test_a_block_that_a_receiver_leaves_open_does_not_reach_the_next_test(self) -> None:
        def leave_open(**_: Any) -> None:
            transaction.atomic(using=self.database).__enter__()
            Bounce.objects.using(self.database).create()

        signals.tracking.connect(leave_open)
        for is_atomic in (False, True):
            with (
                override_settings(ANYMAIL=dict(settings.ANYMAIL, ATOMIC_DISPATCH=is_atomic)),
                pytest.raises(TransactionManagementError, match="in the middle of a transaction"),
            ):
                post_events(self.client, [raw_event()])
            assert not Bounce.objects.using(self.database).exists()
        assert self.pending() == [("pending", 1)] * 2

    def test_with_atomic_dispatch_the_transaction_of_the_test_stays(self) -> None:
        Bounce.objects.using(self.database).create(pk=7)

        def clash(**_: Any) -> None:
            Bounce.objects.using(self.database).create(pk=7)

        with override_settings(ANYMAIL=dict(settings.ANYMAIL, ATOMIC_DISPATCH=True)):
            for receiver, error in ((clash, IntegrityError), (fail, Closed)):
                signals.tracking.connect(receiver, dispatch_uid="fails")
                with pytest.raises(error):
                    post_events(self.client, [raw_event()])
                signals.tracking.disconnect(dispatch_uid="fails")
            signals.tracking.connect(lambda **_: None, dispatch_uid="fails", weak=False)
            assert drain() == 2
        assert self.pending() == []
        assert Bounce.objects.using(self.database).count() == 1
        assert connections[self.database].in_atomic_block

    def test_recorded_failures_are_retried_and_become_dead_letters(self) -> None:
        signals.tracking.connect(fail, dispatch_uid="fails")
        fine = Recorder(signals.tracking, "fine")
        with override_settings(ANYMAIL=dict(settings.ANYMAIL, RECEIVER_MAX_ATTEMPTS=3)), record_failures():
            assert post_events(self.client, [raw_event(), raw_event()]).status_code == 200
            assert self.pending() == [("pending", 1)] * 2
            assert "the shop is closed" in PendingDelivery.objects.all()[0].receivers["fails"]
            assert (drain(), drain(), drain()) == (2, 2, 0)
        assert self.pending() == [("dead", 3)] * 2
        assert len(fine.calls) == 2

    def test_outside_the_context_failures_are_not_recorded(self) -> None:
        signals.tracking.connect(fail, dispatch_uid="fails")
        with record_failures():
            post_events(self.client, [raw_event()])
        with pytest.raises(Closed):
            drain()
        assert self.pending() == [("pending", 2)]

    def test_an_unreadable_element_becomes_a_dead_letter(self) -> None:
        log = Recorder(signals.tracking)
        assert post_events(self.client, [b"{nonsense", raw_event()]).status_code == 200
        assert self.pending() == [("dead", 0)]
        assert len(log.calls) == 1

    def test_an_empty_post_is_accepted(self) -> None:
        assert post_events(self.client, []).status_code == 200

    def test_a_post_without_credentials_is_refused(self) -> None:
        assert self.client.post(TRACKING, b"[]", content_type="application/json").status_code == 403

    async def test_the_async_client_and_async_receivers_work(self) -> None:
        events: list[TrackingEvent] = []

        async def note(event: TrackingEvent, **_: Any) -> None:
            events.append(event)

        signals.tracking.connect(note)
        headers = {"Authorization": "Basic c2VuZGdyaWQ6YS1zZWNyZXQtZm9yLXRlc3RzLW9ubHk="}
        response = await self.async_client.post(
            TRACKING, [raw_event()], content_type="application/json", headers=headers
        )
        assert response.status_code == 200
        assert (await sync_to_async(post_events)(self.client, [raw_event()])).status_code == 200
        assert len(events) == 2

    def test_a_mail_has_been_received_when_the_post_returns(self) -> None:
        events: list[InboundEvent] = []

        def note(event: InboundEvent, **_: Any) -> None:
            events.append(event)

        signals.inbound.connect(note, to="desk@*")
        others = Recorder(signals.inbound)
        assert post_inbound(self.client, MAIL).status_code == 200
        (event,) = events
        assert (event.message.text, event.message.envelope_recipient) == ("Help", "desk@example.com")
        assert event.event_id == str(InboundMail.objects.get().pk)
        assert not others.calls
        assert not PendingInboundDelivery.objects.exists()

    def test_an_exception_of_a_mails_receiver_comes_out_and_the_mail_waits(self) -> None:
        signals.inbound.connect(fail, dispatch_uid="fails")
        with pytest.raises(Closed):
            post_inbound(self.client, MAIL)
        assert PendingInboundDelivery.objects.get().failures == 1
        with record_failures():
            assert drain() == 1
        assert PendingInboundDelivery.objects.get().failures == 2
        log = Recorder(signals.inbound, "other")
        assert post_inbound_of_another_sender(self.client) == 200
        assert [call.attempt for call in log.calls] == [1]


def post_inbound_of_another_sender(client: Client) -> int:
    with record_failures():
        return post_inbound(client, MAIL, envelope_sender="bo@example.org").status_code


class InTestCaseOnPostgreSQL(InTestCase):
    database = "postgres"


class InTransactionTestCase(TransactionTestCase):
    """Tests that commit."""

    databases = "__all__"

    def test_receivers_write_and_fail_as_in_production(self) -> None:
        def write(event: TrackingEvent, **_: Any) -> None:
            Bounce.objects.create(recipient=event.recipient or "")
            raise Closed

        signals.tracking.connect(write)
        with pytest.raises(Closed):
            post_events(self.client, [raw_event(recipient="bo@example.org")])
        assert Bounce.objects.get().recipient == "bo@example.org"
        assert PendingDelivery.objects.get().failures == 1

    def test_a_rolled_back_post_leaves_nothing(self) -> None:
        log = Recorder(signals.tracking)
        signals.inbound.connect(fail)

        def post_both() -> None:
            with transaction.atomic():
                post_events(self.client, [raw_event()])
                post_inbound(self.client, MAIL)

        with pytest.raises(Closed):
            post_both()
        assert len(log.calls) == 1
        assert not Event.objects.exists()
        assert not InboundMail.objects.exists()

    def test_atomic_dispatch_rolls_back_the_writes_of_a_failed_receiver(self) -> None:
        def write(**_: Any) -> None:
            Bounce.objects.create(pk=1)
            transaction.on_commit(fail)

        signals.tracking.connect(write)
        with override_settings(ANYMAIL=dict(settings.ANYMAIL, ATOMIC_DISPATCH=True)):
            with pytest.raises(Closed):
                post_events(self.client, [raw_event()])
            signals.tracking.connect(fail)
            with pytest.raises(IntegrityError):
                post_events(self.client, [raw_event()])
        assert Bounce.objects.count() == 1
        assert PendingDelivery.objects.get().failures == 1


class WithoutDatabase(SimpleTestCase):
    def test_the_test_is_told_so(self) -> None:
        with pytest.raises(AssertionError, match="not allowed in SimpleTestCase"):
            post_events(self.client, [raw_event()])
        with pytest.raises(AssertionError, match="not allowed in SimpleTestCase"):
            post_inbound(self.client, MAIL)


class InLiveServer(LiveServerTestCase):
    """The view runs in a thread of its own."""

    databases = "__all__"

    def test_receivers_have_been_called_when_the_server_answers(self) -> None:
        log, event = Recorder(signals.tracking), raw_event()
        auth = ("sendgrid", "a-secret-for-tests-only")
        assert requests.post(self.live_server_url + TRACKING, json=[event], auth=auth, timeout=30).ok
        assert log.ids == [event["sg_event_id"]]
        assert Event.objects.count() == 1


pytestmark = pytest.mark.django_db(databases=["default", "postgres"])


@pytest.fixture
def real_redis(anymail: Callable[..., None]) -> Iterator[Redis]:
    """The Redis of the settings, which answers."""
    anymail(EVENT_REDIS_URL=REDIS_URL, EVENT_STREAM="a-test-run")
    with Redis.from_url(REDIS_URL) as server:
        yield server


@pytest.mark.parametrize("task_always_eager", [False, True])
def test_posts_leave_no_key_in_the_redis_of_the_settings(
    real_redis: Redis, client: Client, task_always_eager: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CELERY_BROKER_WRITE_URL")
    monkeypatch.setitem(current_app.conf, "task_always_eager", task_always_eager)
    before = set(real_redis.keys())
    event = raw_event()
    signals.tracking.connect(fail)
    with record_failures():
        post_events(client, [event, event, b"{nonsense"])
        drain()
    post_inbound(client, MAIL)
    client.post(TRACKING)  # refused, which is counted
    assert set(real_redis.keys()) == before


def test_nothing_reaches_redis_or_a_broker() -> None:
    for wake in (wakeup.wake, wakeup.wake_once, wakeup.acknowledge):
        wake(tasks.drain)
    wakeup.suppress(tasks.drain, 1)
    count(counters.EVENTS_DUPLICATE)
    assert not redis.is_circuit_open()
    assert wakeup._paused_until == wakeup._redis_paused_until == 0.0
    for connect in (redis.for_webhooks, redis.for_workers, redis.for_wake_ups):
        with pytest.raises(RedisError, match="A test run uses no Redis"):
            connect()


def test_a_task_called_by_a_test_delivers_what_waits_and_looks_for_no_more(client: Client) -> None:
    first, second = raw_event(), raw_event()
    signals.tracking.connect(fail, dispatch_uid="fails")
    with pytest.raises(Closed):
        post_events(client, [first, second])
    signals.tracking.disconnect(dispatch_uid="fails")
    log = Recorder(signals.tracking, "fails")
    tasks.drain()
    assert log.ids == [second["sg_event_id"]]


def test_mails_are_in_memory_without_and_with_a_storage_in_the_settings(
    client: Client, settings: Settings, tmp_path: Path
) -> None:
    log = Recorder(signals.inbound)
    use_folder(settings, tmp_path)
    assert post_inbound(client, MAIL).status_code == 200
    assert not stored_files(tmp_path)
    settings.STORAGES = {"default": settings.STORAGES["default"]}
    assert post_inbound(client, MAIL, envelope_sender="bo@example.org").status_code == 200
    assert len(log.calls) == 2


def test_eager_mode_is_off_for_a_project_that_turns_it_off(
    anymail: Callable[..., None], client: Client
) -> None:
    anymail(EAGER_IN_TESTS=False)
    assert post_events(client, [raw_event()]).status_code == 503
