"""The helpers for tests of a project: what they build, what they post, and the examples in the docs."""

import re
import sys
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
from django.core.mail import EmailMessage as DjangoMessage
from django.test import AsyncClient, Client, TestCase
from django.urls import include, path
from django.views.decorators.cache import never_cache
from pytest_django import Settings

from events_app import signals
from events_app.inbound.message import AnymailInboundMessage, InboundMessage
from events_app.normalize import EVENT_TYPES, normalize
from events_app.signals import (
    AnymailInboundEvent,
    AnymailTrackingEvent,
    EventType,
    InboundEvent,
    RejectReason,
    TrackingEvent,
)
from events_app.testing import inbound_event, post_events, post_inbound, raw_event, tracking_event
from events_app.views import SendGridInboundWebhookView, SendGridTrackingWebhookView
from example_app import receivers
from example_app.models import Bounce, Reply
from tests.support.events.tokens import CLIENT, ISSUER

pytestmark = pytest.mark.django_db(databases=["default", "postgres"])


def note_reply(event: InboundEvent, **_: Any) -> None:
    sender = event.message.from_email
    Reply.objects.create(sender=sender.addr_spec if sender else "", text=event.message.text or "")


@pytest.fixture(autouse=True)
def shop(anymail: Callable[..., None]) -> None:
    """A project whose receivers store bounces and replies, under its test runner."""
    anymail(EAGER_IN_TESTS=True, EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    signals.tracking.connect(receivers.note_bounce)
    signals.inbound.connect(note_reply)


# Building


@pytest.mark.parametrize("event_type", sorted(set(EVENT_TYPES.values())))
def test_an_event_of_each_type_of_sendgrid_has_the_given_attributes(event_type: EventType) -> None:
    event = tracking_event(
        event_type, recipient="bo@example.org", message_id="m1", metadata={"order": 7}, tags=["a", "b"]
    )
    assert (event.event_type, event.recipient, event.message_id) == (event_type, "bo@example.org", "m1")
    assert (event.metadata, event.tags) == ({"order": "7"}, ["a", "b"])
    assert event.timestamp
    assert event.description
    assert (event.reject_reason is not None) == (event_type in ("bounced", "rejected"))
    assert event.description == normalize(event.esp_event).description


@pytest.mark.parametrize(
    ("event_type", "reason"),
    [("bounced", reason) for reason in ("bounced", "blocked", "spam", "timed_out")]
    + [("rejected", reason) for reason in ("bounced", "invalid", "spam", "unsubscribed", "other")],
)
def test_an_event_has_the_given_reject_reason(event_type: str, reason: str) -> None:
    assert tracking_event(event_type, reject_reason=reason).reject_reason == RejectReason(reason)


def test_fields_of_sendgrid_are_added_last() -> None:
    event = tracking_event(EventType.CLICKED, url="https://example.com/a", timestamp=1_780_000_000)
    assert event.click_url == "https://example.com/a"
    assert event.timestamp
    assert event.timestamp.year == 2026
    assert tracking_event(EventType.UNKNOWN, event="account_status_change").event_type == EventType.UNKNOWN


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event_type": "sent"}, "posts no event of the type 'sent'"),
        ({"event_type": "nonsense"}, "nonsense"),
        (
            {"event_type": "opened", "reject_reason": "spam"},
            "'open' has no reject_reason 'spam'; known: none",
        ),
        ({"event_type": "bounced", "reject_reason": "unsubscribed"}, "known: bounced, blocked, spam"),
    ],
)
def test_an_event_that_sendgrid_never_posts_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        raw_event(**arguments)


def test_a_text_is_a_single_tag() -> None:
    assert tracking_event(EventType.DELIVERED, tags="welcome").tags == ["welcome"]


def test_each_event_has_an_id_of_its_own() -> None:
    assert raw_event()["sg_event_id"] != raw_event()["sg_event_id"]


def test_an_inbound_event_is_what_a_receiver_gets(client: Client) -> None:
    events: list[InboundEvent] = []
    signals.inbound.connect(lambda event, **_: events.append(event), dispatch_uid="log", weak=False)
    picture = InboundMessage.construct_attachment("image/png", b"\x89PNG\r\n\x00", content_id="logo")
    mail = InboundMessage.construct(
        from_email="Ann <ann@example.org>",
        to=["a@shop.example", "b@shop.example"],
        cc="c@shop.example",
        subject="Größe",
        text="Wie groß?",
        html="<img src='cid:logo'>",
        attachments=[
            picture,
            InboundMessage.construct_attachment("text/csv", "a;b", filename="größe.csv"),
        ],
    )
    built = inbound_event(mail, spam_score="4.5", SPF="fail")
    post_inbound(client, mail, spam_score="4.5", SPF="fail")
    (received,) = events
    for event in (built, received):
        message = event.message
        assert (message.subject, message.text) == ("Größe", "Wie groß?")
        assert [file.get_filename() for file in message.attachments] == ["größe.csv"]
        assert message.content_id_map["logo"].get_content_bytes() == picture.get_content_bytes()
        assert message.envelope_sender == "ann@example.org"
        assert message.envelope_recipients == ["a@shop.example", "b@shop.example", "c@shop.example"]
        assert (message.spam_score, message.spf) == (4.5, "fail")
        assert message.dkim == {"example.org": "pass"}
        assert event.event_id
        assert event.timestamp
    assert received.esp_event == built.esp_event


def test_the_envelope_of_a_mail_and_of_the_arguments_precede_its_headers() -> None:
    mail = InboundMessage.construct(from_email="ann@example.org", to="a@shop.example")
    mail.envelope_sender, mail.envelope_recipients = "bounces@example.org", ["hidden@shop.example"]
    message = inbound_event(mail).message
    assert message.envelope_sender == "bounces@example.org"
    assert message.envelope_recipients == ["hidden@shop.example"]
    message = inbound_event(mail, envelope_sender="", envelope_recipients=["x@shop.example"]).message
    assert message.envelope_sender == ""
    assert message.envelope_recipients == ["x@shop.example"]


def test_mails_of_python_and_of_django_and_sources_are_accepted() -> None:
    mail = EmailMessage()
    mail["From"] = "ann@example.org"
    mail.set_content("Help\n")
    of_django = DjangoMessage("Subject", "Help\n", "ann@example.org", ["a@shop.example"]).message()
    for source in (mail, mail.as_bytes(), of_django, of_django.as_bytes()):
        message = inbound_event(source).message
        assert (str(message.from_email), message.text) == ("ann@example.org", "Help\n")


# Posting


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"basic_auth": "other:password-of-the-view"},
        {"basic_auth": ["one:password", "two:password"], "{}_webhook_verification_key": "an older key"},
    ],
)
@pytest.mark.parametrize(
    "credentials",
    [
        {"WEBHOOK_SECRET": []},
        {"WEBHOOK_SECRET": ["sendgrid:a-secret", "sendgrid:another"]},
        {"WEBHOOK_SECRET": [], "WEBHOOK_OAUTH_CLIENTS": CLIENT},
        {"WEBHOOK_SECRET": "sendgrid:a-secret", "WEBHOOK_OAUTH_ISSUER": ISSUER},
    ],
)
def test_posts_are_accepted_by_a_webhook_with_arguments_of_its_own(
    client: Client,
    settings: Settings,
    anymail: Callable[..., None],
    arguments: dict[str, Any],
    credentials: dict[str, Any],
) -> None:
    anymail(**credentials)
    settings.SECURE_SSL_REDIRECT = True

    def view(view_class: Any) -> Any:
        named = {name.format(view_class.webhook): value for name, value in arguments.items()}
        return never_cache(view_class.as_view(**named))

    urls = [path("events", view(SendGridTrackingWebhookView)), path("mail", view(SendGridInboundWebhookView))]
    settings.ROOT_URLCONF = (path("own/", include(urls)),)
    assert post_events(client, [raw_event("bounced")], url="/own/events").status_code == 200
    assert post_inbound(client, b"From: ann@example.org\n\nHelp", url="/own/mail").status_code == 200
    assert Bounce.objects.exists()
    assert Reply.objects.exists()
    unsigned = client.post("/own/events", b"[]", content_type="application/json", secure=True)
    assert unsigned.status_code == (401 if len(credentials) > 1 else 403)


def test_a_wrong_use_of_a_helper_is_explained(client: Client) -> None:
    with pytest.raises(TypeError, match="sync_to_async"):
        post_events(AsyncClient(), [])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="does not lead to SendGridTrackingWebhookView"):
        post_events(client, [], url="/anymail/sendgrid/inbound/")
    with pytest.raises(ValueError, match=r"Build the event with tracking_event\(\)"):
        post_events(client, [TrackingEvent(event_type=EventType.OPENED)])


# The idioms in Anymail's documentation, with our imports


class EmailTrackingTests(TestCase):
    databases = "__all__"

    def test_bounced_event(self) -> None:
        event = AnymailTrackingEvent(
            event_type="bounced",
            recipient="to@example.com",
            message_id="test-message-id",
        )
        signals.tracking.send(sender=object(), event=event, esp_name="TestESP")
        assert Bounce.objects.filter(recipient="to@example.com").exists()


class EmailReceivingTests(TestCase):
    databases = "__all__"

    def test_inbound_event(self) -> None:
        message = AnymailInboundMessage.construct(
            from_email="user@example.com",
            to="comments@example.net",
            subject="subject",
            text="text body",
            html="html body",
        )
        event = AnymailInboundEvent(message=message)
        signals.inbound.send(sender=object(), event=event, esp_name="TestESP")
        assert Reply.objects.get(sender="user@example.com").text == "text body"


# The examples in the docs


def _project() -> dict[str, ModuleType]:
    """The project of the examples."""
    package, models = ModuleType("shop"), ModuleType("shop.models")
    models.__dict__.update(Bounce=Bounce, Reply=Reply)
    package.__dict__.update(models=models, __path__=[])
    return {"shop": package, "shop.models": models}


def _examples() -> Iterator[tuple[str, Any]]:
    """The tests in the code blocks of the page, under names of their own."""
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
    _, _, section = page.partition("\n## Events\n")
    section, _, _ = section.partition("\n## Mail\n")
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", section, re.DOTALL)):
        names: dict[str, Any] = {"__name__": __name__}
        exec(block, names)
        for name, test in names.items():
            if isinstance(test, FunctionType) and name.startswith("test_"):
                yield f"{name}_{number}", test
            elif isinstance(test, type) and issubclass(test, TestCase) and test is not TestCase:
                yield f"{name}{number}", test


sys.modules.update(_project())
globals().update(_examples())


def test_each_example_of_the_page_is_a_test_here() -> None:
    assert len(list(_examples())) == 5
