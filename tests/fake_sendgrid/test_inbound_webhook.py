"""An inbound mail is posted until it is accepted or lost."""

from collections.abc import Callable, Iterator

import pytest

from events_app.views.signature import verify
from fake_sendgrid.inbound_webhook import InboundDelivery, InboundWebhook
from fake_sendgrid.multipart_form import FormPart, MultipartForm
from fake_sendgrid.webhook_sender import WebhookSender
from tests.support.fake_sendgrid.parsed_forms import parse_form
from tests.support.fake_sendgrid.webhook_receiver import PATIENCE, WebhookReceiver

SENDER = WebhookSender()
FORM = MultipartForm((FormPart("email", b"\xff"), FormPart("to", b"a@example.com")))

Start = Callable[..., InboundWebhook]


@pytest.fixture
def start(webhook: WebhookReceiver) -> Iterator[Start]:
    """An InboundWebhook that posts to `webhook`."""
    started: list[InboundWebhook] = []

    def start(*, url: str | None = webhook.url, **knobs: object) -> InboundWebhook:
        started.append(InboundWebhook(SENDER, **knobs))  # type: ignore[arg-type]
        started[-1].url = url
        return started[-1]

    yield start
    for one in started:
        one.close()


def test_an_inbound_mail_is_posted_and_signed(start: Start, webhook: WebhookReceiver) -> None:
    inbound = start().deliver(FORM)
    assert inbound.wait(PATIENCE) == inbound.status == 200
    assert inbound.succeeded
    (request,) = webhook.requests
    signature = request.headers["X-Twilio-Email-Event-Webhook-Signature"]
    timestamp = request.headers["X-Twilio-Email-Event-Webhook-Timestamp"]
    assert verify([SENDER.public_key], timestamp=timestamp, signature=signature, body=request.body)
    parts = parse_form(request.headers["Content-Type"], request.body)
    assert [(part.name, part.raw) for part in parts] == [("email", b"\xff"), ("to", b"a@example.com")]


@pytest.mark.parametrize("status", [500, 503, None])
def test_a_failed_inbound_post_is_retried(start: Start, webhook: WebhookReceiver, status: int | None) -> None:
    webhook.statuses = [status, status]
    inbound = start().deliver(FORM)
    assert inbound.wait(PATIENCE) == 200
    assert inbound.statuses == [status, status, 200]


@pytest.mark.parametrize("status", [301, 400, 403, 413, 429])
def test_a_refused_inbound_post_is_not_retried(start: Start, webhook: WebhookReceiver, status: int) -> None:
    webhook.statuses = [status]
    inbound_webhook = start()
    lost, next_one = inbound_webhook.deliver(FORM), inbound_webhook.deliver(FORM)
    assert lost.wait(PATIENCE) == status
    assert not lost.succeeded
    assert next_one.wait(PATIENCE) == 200
    assert len(webhook.requests) == 2


def test_a_retried_inbound_mail_delays_no_other(start: Start, webhook: WebhookReceiver) -> None:
    webhook.statuses = [503]
    told: list[InboundDelivery] = []
    inbound_webhook = start(on_post=told.append)
    first, second = inbound_webhook.deliver(FORM), inbound_webhook.deliver(FORM)
    first.wait(PATIENCE)
    assert told == [first, second, first]


def test_inbound_mails_wait_for_a_url(start: Start, webhook: WebhookReceiver) -> None:
    inbound_webhook = start(url=None)
    inbound = inbound_webhook.deliver(FORM)
    with pytest.raises(TimeoutError, match="neither accepted nor lost"):
        inbound.wait(0.1)
    assert (inbound.status, inbound.statuses, inbound.succeeded) == (None, [], False)
    inbound_webhook.url = webhook.url
    assert inbound.wait(PATIENCE) == 200


def test_the_number_of_remembered_inbound_mails_is_limited(start: Start) -> None:
    inbound_webhook = start(url=None, keep=2)
    taken = [inbound_webhook.deliver(FORM) for _ in range(3)]
    assert inbound_webhook.received == taken[1:]
    assert start(url=None).received == []
