"""Examples of the pages about events, inbound mail, suppression, the admin and logs, run as they stand."""

import shlex
import subprocess
import sys
from base64 import urlsafe_b64decode
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from django.contrib.auth.models import Group
from django.core import mail
from django.core.files.storage import InvalidStorageError, StorageHandler
from pytest_django import Settings

from events_app import signals
from events_app.events import InboundEvent
from events_app.inbound.message import InboundMessage
from events_app.normalize import normalize
from tests.support.documents import block
from tests.support.sending.django_mail import LOCMEM, use_backend


def test_a_test_makes_an_event() -> None:
    names: dict[str, Any] = {}
    exec(block("docs/events.md", "Attributes"), names)
    event = names["event"]
    assert (event.event_type, event.recipient) == ("bounced", "ann@example.com")
    assert event.metadata == {"order": "7"}


def test_partials_have_names(tracking: signals.ReceiverSignal) -> None:
    called: list[str] = []

    def on_event(shop: str, **_: object) -> None:
        called.append(shop)

    example = block("docs/events.md", "Names of receivers")
    exec(example, {"tracking": tracking, "partial": partial, "on_event": on_event})
    connected = tracking.named_receivers(None)
    assert [receiver.name for receiver in connected] == ["shop.north", "shop.south"]
    for receiver in connected:
        receiver.call()
    assert called == ["north", "south"]


def test_the_storage_is_one_of_djangos() -> None:
    names: dict[str, Any] = {}
    exec(block("docs/inbound.md", "Set it up"), names)
    storages = StorageHandler(names["STORAGES"])
    storage: Any = storages["sendgrid_inbound"]
    assert storage.location == "/var/lib/yourproject/inbound"
    with pytest.raises(InvalidStorageError):
        storages["another"]


def inbound_event(to: str) -> InboundEvent:
    message = InboundMessage.construct(
        from_email="Ann <ann@example.org>",
        to=to,
        subject="Help",
        text="It is broken.",
        attachments=[InboundMessage.construct_attachment("text/csv", "a;b", filename="log.csv")],
    )
    message.envelope_sender = "ann@example.org"
    message.envelope_recipient = to
    return InboundEvent(message=message)


def test_a_receiver_and_its_test() -> None:
    ticket_model = MagicMock()
    names: dict[str, Any] = {"Ticket": ticket_model}
    exec(block("docs/inbound.md", "A receiver"), names)
    names["open_ticket"](None, inbound_event("support@parse.example.com"), "SendGrid")
    ticket_model.objects.create.assert_called_once_with(
        sender="ann@example.org", subject="Help", text="It is broken."
    )
    (file,) = ticket_model.objects.create.return_value.files.create.call_args.kwargs.values()
    assert file.name == "log.csv"

    ticket_model.objects.get.return_value = SimpleNamespace(subject="Help")
    exec(block("docs/inbound.md", "Tests of receivers"), names)
    names["test_a_mail_opens_a_ticket"]()


def test_routes_choose_the_receivers(inbound: signals.InboundSignal, settings: Settings) -> None:
    use_backend(settings, LOCMEM)
    settings.DEFAULT_FROM_EMAIL = "shop@example.com"
    ticket_model = MagicMock()
    ticket_model.objects.create.return_value.token = "a1b2"
    names = {"Ticket": ticket_model, "new_token": lambda: "a1b2", "__name__": "desk"}
    exec(block("docs/inbound.md", "Routes"), names)

    def called(to: str) -> list[str]:
        event = inbound_event(to)
        connected = {receiver.name: receiver for receiver in inbound.named_receivers(None)}
        chosen = inbound.chosen(event, list(connected))
        for name in chosen:
            connected[name].call(sender=None, event=event)
        return chosen

    assert called("help@parse.example.com") == ["desk.open_ticket"]
    assert mail.outbox[0].reply_to == ["support+a1b2@parse.example.com"]
    assert called("support+A1B2@parse.example.com") == ["desk.add_reply"]
    ticket_model.objects.get.assert_called_once_with(token="a1b2")
    assert called("sales@parse.example.com") == ["desk.forward_to_postmaster"]


def test_a_receiver_tells_who_was_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(block("docs/suppression.md", "What a receiver gets"), names)
    event = {"event": "dropped", "email": "ann@example.com", "reason": "Bounced Address", "anymail_id": "m-1"}
    names["left_out"](event=normalize({**event, "sendgrid_pipeline": "suppressed"}))
    names["left_out"](event=normalize(event))
    assert capsys.readouterr().out == "ann@example.com bounced m-1\n"


def test_a_mail_has_the_scope_of_its_stream(settings: Settings, anymail: Callable[..., None]) -> None:
    use_backend(settings, LOCMEM)
    settings.DEFAULT_FROM_EMAIL = "shop@example.com"
    anymail(UNSUBSCRIBE_URL="https://mail.example.com/mail/")
    exec(block("docs/suppression.md", "Scopes"), {})
    messages: list[Any] = mail.outbox
    assert messages[0].unsubscribe_scope == "news"


@pytest.mark.django_db
def test_a_group_of_support_sees_mails_and_events() -> None:
    exec(block("docs/admin.md", "Permissions"), {})
    permissions = Group.objects.get(name="Support").permissions.values_list("codename", flat=True)
    assert set(permissions) >= {"view_mail", "view_recipient", "view_event", "view_inboundmail"}


def python(example: str, text: str = "") -> str:
    """The output of a program in a line of shell."""
    program, *arguments = shlex.split(example)
    assert program in ("python", "python3")
    done = subprocess.run(
        [sys.executable, *arguments], input=text, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_password_is_quoted_for_a_url() -> None:
    assert python(block("docs/redis.md", "The URL"), "a/b@c d") == "a%2Fb%40c%20d"


def test_a_key_of_the_encryption_is_made() -> None:
    assert len(urlsafe_b64decode(python(block("docs/personal-data.md", "Encryption")))) == 32


def test_a_host_keeps_its_logging() -> None:
    names: dict[str, Any] = {}
    exec(block("docs/logs.md", "In a project of your own", 2), names)
    assert names["keep_logging"](loglevel="INFO") is None
    names["setup_logging"].disconnect(names["keep_logging"])
