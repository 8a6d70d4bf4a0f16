"""SendGrid's double gets tokens at the token view and posts with them. Tokens end, and nothing is lost."""

import json
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from devstack.process import wait_for
from events_app import stream
from events_app.dispatch import leases
from events_app.models import InboundMail
from events_app.views import own_tokens
from fake_sendgrid import inbound_form
from fake_sendgrid.event_webhook import EventPost, PostingOptions
from fake_sendgrid.oauth import OAuthClient
from fake_sendgrid.server import FakeSendGrid
from tests.support.events.tokens import CLIENT, hours_later
from tests.support.fake_sendgrid.api_requests import mail_body, post_mail
from tests.support.fake_sendgrid.webhook_receiver import PATIENCE
from tests.support.inbound.storages import use_folder

__all__ = ["hours_later"]

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

Anymail = Callable[..., None]
LetPass = Callable[[float], None]


@pytest.fixture
def statuses() -> list[int | None]:
    """The answers to posts of events."""
    return []


@pytest.fixture
def double(
    live_server: LiveServer,
    anymail: Anymail,
    settings: Settings,
    tmp_path: Path,
    statuses: list[int | None],
) -> Iterator[FakeSendGrid]:
    """A double that signs its posts, and gets its tokens from the live server."""
    use_folder(settings, tmp_path)

    def remember(post: EventPost) -> None:
        statuses.append(post.status)

    with FakeSendGrid(on_post=remember, posting=PostingOptions(gather_seconds=0, batch_size=5)) as double:
        webhooks = f"{live_server.url}/anymail/sendgrid"
        client_id, _, secret = CLIENT.partition(":")
        double.sender.authorize(OAuthClient(client_id, secret, f"{webhooks}/token/"))
        double.webhook_url, double.inbound_url = f"{webhooks}/tracking/", f"{webhooks}/inbound/"
        keys = ("SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY", "SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY")
        anymail(
            WEBHOOK_SECRET=[], WEBHOOK_OAUTH_CLIENTS=CLIENT, **dict.fromkeys(keys, double.sender.public_key)
        )
        yield double


def kept() -> list[str]:
    """The ids of the events in the stream."""
    entries = stream.read_entries(100_000, leases.lease_duration_ms()).entries
    return [json.loads(raw)["sg_event_id"] for entry in entries for raw in entry.events]


def letter() -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "mira@example.org", "desk@parse.example.com", "A question"
    mail.set_content("Where is it?\n")
    return mail


def test_expired_tokens_are_renewed_and_no_event_is_lost(
    double: FakeSendGrid, hours_later: LetPass, statuses: list[int | None]
) -> None:
    mails = 0
    for hours in (0, 2, 4, 6):
        hours_later(hours)
        for _ in range(5):
            post_mail(double.url, mail_body("someone@example.com"))
            mails += 1
        double.wait_until_posted(PATIENCE)
    assert double.posted == {"processed": mails, "delivered": mails}
    events = kept()
    assert len(set(events)) == len(events) == 2 * mails
    # The double posts again at once, so no event waits for a retry.
    assert set(statuses) == {200}
    assert double.sender.tokens
    assert double.sender.tokens.fetches == 4


def test_a_client_whose_secret_changes_loses_no_event(double: FakeSendGrid, anymail: Anymail) -> None:
    post_mail(double.url, mail_body("someone@example.com"))
    double.wait_until_posted(PATIENCE)
    new = "sendgrid:the-next-secret-of-this-client"
    anymail(WEBHOOK_OAUTH_CLIENTS=[new, CLIENT])
    assert double.sender.tokens
    old = double.sender.tokens.client
    double.sender.authorize(OAuthClient(old.id, new.partition(":")[2], old.token_url, in_header=False))
    post_mail(double.url, mail_body("someone@example.com"))
    double.wait_until_posted(PATIENCE)
    anymail(WEBHOOK_OAUTH_CLIENTS=new)
    post_mail(double.url, mail_body("someone@example.com"))
    double.wait_until_posted(PATIENCE)
    assert double.posted == {"processed": 3, "delivered": 3}
    assert double.sender.tokens.fetches == 1


def test_a_mail_with_an_ended_token_is_kept_until_the_token_is_renewed(
    double: FakeSendGrid, hours_later: LetPass, anymail: Anymail, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert double.receive(inbound_form.raw_form(letter())).wait(PATIENCE) == 200
    # The client has a new secret, and SendGrid the token of the old one.
    new = "sendgrid:the-next-secret-of-this-client"
    anymail(WEBHOOK_OAUTH_CLIENTS=new)
    delivery = double.receive(inbound_form.raw_form(letter()))
    wait_for(lambda: len(delivery.statuses) >= 2, seconds=PATIENCE, what="a retry")
    assert set(delivery.statuses) == {503}
    assert double.sender.tokens
    old = double.sender.tokens.client
    double.sender.authorize(OAuthClient(old.id, new.partition(":")[2], old.token_url))
    assert delivery.wait(PATIENCE) == 200
    assert InboundMail.objects.count() == 2


def test_mails_get_a_new_token_by_its_lifetime(double: FakeSendGrid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_tokens, "LIFETIME", 0)
    deliveries = [double.receive(inbound_form.raw_form(letter())) for _ in range(3)]
    assert [delivery.wait(PATIENCE) for delivery in deliveries] == [200, 200, 200]
    assert [delivery.statuses for delivery in deliveries] == [[200]] * 3
    assert double.sender.tokens
    assert double.sender.tokens.fetches == 3
