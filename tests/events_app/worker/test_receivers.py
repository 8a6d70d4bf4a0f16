"""A worker names its receivers when it is ready."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_django import Settings

from events_app.inbound import storage
from events_app.signals import ReceiverSignal
from events_app.worker import receivers
from sending_app import signals
from sending_app.signals import post_send, pre_send, send_failed


def listens(**_: Any) -> None: ...


@pytest.fixture
def of_mail() -> Iterator[None]:
    """Receivers of the three signals of sending."""
    pre_send.connect(listens, dispatch_uid="shop.stamp")
    post_send.connect(listens)
    send_failed.connect(listens, sender=signals.backends["queued"])
    yield
    pre_send.disconnect(dispatch_uid="shop.stamp")
    post_send.disconnect(listens)
    send_failed.disconnect(listens, sender=signals.backends["queued"])


@pytest.mark.usefixtures("of_mail")
def test_a_starting_worker_logs_its_receivers(
    tracking: ReceiverSignal, inbound: ReceiverSignal, caplog: pytest.LogCaptureFixture
) -> None:
    tracking.connect(listens, dispatch_uid="shop.listens")
    inbound.connect(listens, dispatch_uid="desk.listens")
    with caplog.at_level("INFO"):
        receivers._report()
    assert caplog.messages == [
        "Receivers of events: shop.listens",
        "Receivers of inbound mails: desk.listens",
        "Receivers of pre_send: shop.stamp",
        f"Receivers of post_send: {__name__}.listens",
        f"Receivers of send_failed: {__name__}.listens",
    ]


@pytest.mark.parametrize("quiet", [False, True])
def test_where_info_is_not_logged_the_receivers_follow_celerys_banner(
    tracking: ReceiverSignal,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    quiet: bool,
) -> None:
    tracking.connect(listens, dispatch_uid="shop.\nlistens")
    worker = SimpleNamespace(controller=SimpleNamespace(quiet=quiet))
    with (tmp_path / "output").open("w") as output, caplog.at_level("WARNING"):
        monkeypatch.setattr("sys.__stdout__", output)
        receivers._report(worker)
    printed = "" if quiet else "Receivers of events: shop.\\nlistens\n"
    assert (tmp_path / "output").read_text() == printed


def test_a_starting_worker_warns_when_there_are_no_receivers(caplog: pytest.LogCaptureFixture) -> None:
    receivers._report()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_a_starting_worker_without_inbound_storage_does_not_warn_of_inbound_receivers(
    caplog: pytest.LogCaptureFixture, settings: Settings
) -> None:
    settings.STORAGES = {name: one for name, one in settings.STORAGES.items() if name != storage.ALIAS}
    receivers._report()
    (message,) = caplog.messages
    assert "for events" in message
