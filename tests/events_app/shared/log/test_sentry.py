"""Sentry gets each failure once: the exception, and the names to find it by."""

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sentry_sdk
from django.test import Client
from pytest_django import Settings
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.logging import LoggingIntegration, unignore_logger
from sentry_sdk.transport import Transport

from devstack.stack import ROOT
from events_app import conf, signals
from events_app.dispatch import dispatcher, kinds
from events_app.dispatch.leases import Lease
from events_app.inbound import store
from events_app.shared.log import failures
from events_app.shared.log.floods import MOST
from events_app.signals import ReceiverSignal, ReportedSignal
from events_app.views import tracking as tracking_view
from tests.support.events.leases import store_leased
from tests.support.events.webhook_requests import BODY, SECRET
from tests.support.inbound.storages import use_folder

ADDRESS = "ann@example.com"

Events = list[dict[str, Any]]


class Envelopes(Transport):
    """Sentry's end of the wire."""

    def __init__(self) -> None:
        super().__init__()
        self.events: Events = []

    def capture_envelope(self, envelope: Any) -> None:
        if event := envelope.get_event():
            self.events.append(event)


@pytest.fixture
def sentry() -> Iterator[Events]:
    """The events that Sentry gets. Of the integrations that are on by default, those without patches."""
    transport = Envelopes()
    client = sentry_sdk.Client(
        dsn="https://key@sentry.example/1",
        transport=transport,
        integrations=[LoggingIntegration(), DedupeIntegration()],
        default_integrations=False,
        auto_enabling_integrations=False,
    )
    with sentry_sdk.isolation_scope() as scope:
        scope.set_client(client)
        yield transport.events
    client.close(timeout=0)
    unignore_logger(failures.logger.name)


def shop(**_: Any) -> None:
    raise LookupError(f"no {ADDRESS}")


def fail(event: int = 17) -> None:
    try:
        shop()
    except LookupError as error:
        fields = {"receiver": "shop", "event": event, "event_id": "A1", "message_ids": ["1", "2"]}
        failures.report("Receiver %s failed on event %d", "shop", event, error=error, fields=fields)


@pytest.mark.parametrize("whole", [False, True])
def test_a_failure_is_one_event_with_the_exception_and_tags(
    sentry: Events, anymail: Any, whole: bool
) -> None:
    anymail(LOG_TRACEBACKS=whole)
    fail()
    (event,) = sentry
    (error,) = event["exception"]["values"]
    assert (event["level"], error["type"], error["value"]) == ("error", "LookupError", f"no {ADDRESS}")
    assert error["stacktrace"]["frames"][-1]["function"] == "shop"
    assert event["tags"] == {"receiver": "shop", "event": 17, "sendgrid_event_id": "A1"}
    assert event["extra"]["message_ids"] == ["1", "2"]
    assert event["extra"]["line"].startswith("Receiver shop failed on event 17: LookupError at ")


def test_our_own_texts_have_no_address(sentry: Events) -> None:
    fail()
    (event,) = sentry
    del event["exception"]
    assert ADDRESS not in json.dumps(event)


def test_the_log_record_has_no_exception(sentry: Events, caplog: pytest.LogCaptureFixture) -> None:
    fail()
    (record,) = caplog.records
    assert ADDRESS not in repr(pickle.loads(pickle.dumps(vars(record))))


def test_lines_that_are_left_out_are_no_events(sentry: Events) -> None:
    for event in range(3 * MOST):
        fail(event)
    assert len(sentry) == MOST


def test_an_exception_that_is_raised_after_the_report_is_no_second_event(sentry: Events) -> None:
    try:
        shop()
    except LookupError as error:
        failures.report("A receiver of pre_send failed", error=error)
        sentry_sdk.capture_exception(error)  # as the integration of Django
    assert len(sentry) == 1


@pytest.mark.django_db(databases=["default", "postgres"], transaction=True)
def test_a_failed_receiver_is_one_event(
    sentry: Events, database: str, tracking: ReceiverSignal, caplog: pytest.LogCaptureFixture
) -> None:
    tracking.connect(shop)
    lease = Lease()
    (delivery,) = store_leased("A1", lease=lease)
    dispatcher.deliver([delivery], lease)
    (event,) = sentry
    name = f"{__name__}.shop"
    expected = {"receiver": name, "event": delivery.pk, "sendgrid_event_id": "A1", "attempt": 1}
    assert event["tags"] == {**expected, "message_id": delivery.row.message_id}
    assert event["exception"]["values"][-1]["value"] == f"no {ADDRESS}"
    assert [record.exc_info for record in caplog.records] == [None]


@pytest.mark.django_db(databases=["default", "postgres"], transaction=True)
def test_a_failed_reader_is_one_event(
    sentry: Events, database: str, tracking: ReceiverSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(_: object) -> None:
        shop()

    lease = Lease(kind=kinds.EVENTS._replace(read=read))
    (delivery,) = store_leased("A1", lease=lease)
    dispatcher.deliver([delivery._replace(event=None)], lease)
    (event,) = sentry
    assert event["exception"]["values"][-1]["stacktrace"]["frames"][-1]["function"] == "shop"


@pytest.mark.django_db(databases=["default", "postgres"], transaction=True)
@pytest.mark.parametrize("webhook", ["tracking", "inbound"])
def test_an_error_of_a_webhook_does_not_show_its_password(
    sentry: Events, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, webhook: str
) -> None:
    use_folder(settings, tmp_path)
    monkeypatch.setattr(store, "save_mail", lambda *_, **__: shop())
    monkeypatch.setattr(tracking_view, "split", lambda _: shop())
    try:
        Client().post(f"/anymail/sendgrid/{webhook}/", BODY, content_type="application/json", headers=SECRET)
    except LookupError as error:
        sentry_sdk.capture_exception(error)  # as the integration of Django
    (event,) = sentry
    assert event["exception"]["values"][-1]["stacktrace"]["frames"][-1]["function"] == "shop"
    for secret in conf.BASIC_AUTH.get():
        assert secret not in json.dumps(event)


def test_failed_receivers_of_mails_are_an_event_each(sentry: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "reported_signals", [])  # The one made here is no signal of the process.
    signal = ReportedSignal("post_send")
    signal.connect(shop)
    signal.send_robust(None, fields={"mail": 5, "message_ids": ["1"]})
    (event,) = sentry
    assert event["tags"] == {"receiver": f"{__name__}.shop", "mail": 5}
    assert event["extra"]["message_ids"] == ["1"]


_WITH_ALL_INTEGRATIONS = """
import json, os, threading
import django, sentry_sdk
from sentry_sdk.transport import Transport

class Printed(Transport):
    def capture_envelope(self, envelope):
        event = envelope.get_event() or {"exception": {"values": []}}
        print("sent", *(error["value"] for error in event["exception"]["values"]))

sentry_sdk.init("https://key@sentry.example/1", transport=Printed())
django.setup()
from celery import shared_task
from events_app.shared.log import failures
from workers import logs
from workers.app import app

@shared_task(name="failing", ignore_result=True)
def failing():
    raise ValueError("task")

failing.apply()

def fails():
    raise ValueError("thread")

threading.excepthook = logs._report_thread
thread = threading.Thread(target=fails)
thread.start()
thread.join()

try:
    raise ValueError("receiver")
except ValueError as error:
    failures.report("Receiver %s failed", "shop", error=error)
"""


def test_with_sentrys_default_integrations_each_failure_is_one_event() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITH_ALL_INTEGRATIONS],
        env={"DJANGO_SETTINGS_MODULE": "project.settings", "DJANGO_SECRET_KEY": "for tests"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["sent task", "sent thread", "sent receiver"], done.stderr


def test_sentry_sdk_1_gets_the_line_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # It has neither `get_client` nor `new_scope`.
    monkeypatch.setitem(sys.modules, "sentry_sdk", ModuleType("sentry_sdk"))
    fail()
    assert "Receiver shop failed on event 17: LookupError at " in caplog.text


def test_without_sentry_nothing_of_it_is_imported() -> None:
    code = "import sys, events_app.shared.log.failures; print('sentry_sdk' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
