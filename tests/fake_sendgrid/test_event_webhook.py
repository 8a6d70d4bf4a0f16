"""Events of accepted mails are signed, posted in batches, and retried until the webhook accepts them."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from devstack.process import wait_for
from events_app.views.signature import verify
from fake_sendgrid.event_webhook import EventPost, PostingOptions
from fake_sendgrid.responses import accept_and_close_connection, server_error
from fake_sendgrid.server import FakeSendGrid
from tests.support.fake_sendgrid.api_requests import mail_body, post_mail
from tests.support.fake_sendgrid.webhook_receiver import PATIENCE, WebhookReceiver

Start = Callable[..., FakeSendGrid]


@pytest.fixture
def start(webhook: WebhookReceiver) -> Iterator[Start]:
    """A FakeSendGrid that posts to the webhook."""
    started: list[FakeSendGrid] = []

    def start(**knobs: Any) -> FakeSendGrid:
        started.append(FakeSendGrid(**{"webhook_url": webhook.url, **knobs}))
        return started[-1]

    yield start
    for one in started:
        one.close()


def many(count: int, word: str = "reader") -> dict[str, Any]:
    return mail_body(*(f"{word}{number}@example.com" for number in range(count)))


def test_events_are_posted_and_signed(start: Start, webhook: WebhookReceiver) -> None:
    fake = start()
    message_id = post_mail(fake.url, mail_body("click@example.com")).headers["X-Message-Id"]
    fake.wait_until_posted(PATIENCE)
    (request,) = webhook.requests
    signature = request.headers["X-Twilio-Email-Event-Webhook-Signature"]
    timestamp = request.headers["X-Twilio-Email-Event-Webhook-Timestamp"]
    assert verify([fake.public_key], timestamp=timestamp, signature=signature, body=request.body)
    assert [event["event"] for event in webhook.events] == ["processed", "delivered", "open", "click"]
    assert all(event["sg_message_id"].startswith(f"{message_id}.") for event in webhook.events)
    assert fake.posted == webhook.names


def test_events_are_posted_in_batches(start: Start, webhook: WebhookReceiver) -> None:
    fake = start(posting=PostingOptions(batch_size=7, gather_seconds=0))
    post_mail(fake.url, many(10))
    fake.wait_until_posted(PATIENCE)
    assert [len(post) for post in webhook.posts] == [7, 7, 6]


def test_a_full_batch_is_posted_at_once(start: Start, webhook: WebhookReceiver) -> None:
    fake = start(posting=PostingOptions(batch_size=4, gather_seconds=3600))
    for _ in range(4):
        post_mail(fake.url, mail_body())
    assert webhook.came.wait(PATIENCE)
    assert len(webhook.posts[0]) == 4


@pytest.mark.parametrize("status", [500, 403, 302, None])
def test_a_failed_event_post_is_retried(start: Start, webhook: WebhookReceiver, status: int | None) -> None:
    webhook.statuses = [status, status]
    fake = start()
    post_mail(fake.url, mail_body())
    fake.wait_until_posted(PATIENCE)
    assert len(webhook.requests) == 3
    assert webhook.names == fake.posted == {"processed": 1, "delivered": 1}


def test_events_wait_for_a_webhook_url(start: Start, webhook: WebhookReceiver) -> None:
    fake = start(webhook_url=None)
    post_mail(fake.url, mail_body())
    with pytest.raises(TimeoutError, match="webhook_url is not set"):
        fake.wait_until_posted(0)
    fake.webhook_url = webhook.url
    fake.wait_until_posted(PATIENCE)
    assert fake.webhook_url == webhook.url
    assert webhook.names == {"processed": 1, "delivered": 1}


def test_an_unreachable_webhook_loses_no_event(start: Start, webhook: WebhookReceiver) -> None:
    tried = threading.Event()
    fake = start(webhook_url="http://127.0.0.1:1/", on_post=lambda _: tried.set())
    post_mail(fake.url, mail_body())
    assert tried.wait(PATIENCE)
    fake.webhook_url = webhook.url
    fake.wait_until_posted(PATIENCE)
    assert webhook.names == {"processed": 1, "delivered": 1}


def test_events_can_be_held(start: Start, webhook: WebhookReceiver) -> None:
    fake = start()
    fake.hold_events()
    post_mail(fake.url, mail_body())
    with pytest.raises(TimeoutError):
        fake.wait_until_posted(0.2)
    assert webhook.requests == []
    fake.release_events()
    fake.wait_until_posted(PATIENCE)
    assert webhook.names == {"processed": 1, "delivered": 1}


def test_retries_can_be_paused_while_newer_events_are_posted(start: Start, webhook: WebhookReceiver) -> None:
    webhook.statuses = [503]
    fake = start()
    fake.pause_retries()
    post_mail(fake.url, mail_body())
    assert webhook.came.wait(PATIENCE)
    with pytest.raises(TimeoutError, match="0 mails' events and 2 further events"):
        fake.wait_until_posted(0.2)
    assert fake.failed_event_count == 2
    post_mail(fake.url, mail_body())
    wait_for(lambda: fake.posted == {"processed": 1, "delivered": 1}, seconds=PATIENCE, what="the newer ones")
    fake.resume_retries()
    fake.wait_until_posted(PATIENCE)
    assert (fake.failed_event_count, len(webhook.requests)) == (0, 3)
    assert fake.posted == {"processed": 2, "delivered": 2}


def test_duplicates_are_the_same_events_in_later_posts(start: Start, webhook: WebhookReceiver) -> None:
    fake = start(posting=PostingOptions(duplicates=1.0, gather_seconds=0.01))
    post_mail(fake.url, many(30))
    fake.wait_until_posted(PATIENCE)
    ids = Counter(event["sg_event_id"] for event in webhook.events)
    assert len(ids) == 60
    assert set(ids.values()) == {2}
    assert fake.posted == {"processed": 60, "delivered": 60}
    for one in webhook.posts:
        assert len({event["sg_event_id"] for event in one}) == len(one)


def test_posting_out_of_order_loses_no_event(start: Start, webhook: WebhookReceiver) -> None:
    fake = start(posting=PostingOptions(disorder=0.5, duplicates=0.2, gather_seconds=0.01, batch_size=50))
    post_mail(fake.url, many(200))
    fake.wait_until_posted(PATIENCE)
    seen: dict[str, list[str]] = {}
    for event in webhook.events:
        seen.setdefault(event["email"], []).append(event["event"])
    assert len(seen) == 200
    assert all(set(names) == {"processed", "delivered"} for names in seen.values())
    assert any(names[0] == "delivered" for names in seen.values())
    assert 400 < len(webhook.events) < 560


def test_events_can_be_delayed(start: Start, webhook: WebhookReceiver) -> None:
    fake = start(posting=PostingOptions(delay=0.4, gather_seconds=0))
    post_mail(fake.url, mail_body())
    with pytest.raises(TimeoutError):
        fake.wait_until_posted(0.1)
    assert webhook.requests == []
    fake.wait_until_posted(PATIENCE)


def test_only_accepted_mails_have_events(start: Start, webhook: WebhookReceiver) -> None:
    fake = start()
    fake.next(server_error(), accept_and_close_connection())
    assert post_mail(fake.url, mail_body("no@example.com")).status_code == 500
    with pytest.raises(OSError, match="closed connection"):
        post_mail(fake.url, mail_body("yes@example.com"))
    post_mail(fake.url, mail_body("silent@example.com"))
    post_mail(fake.url, mail_body("sandbox@example.com", mail_settings={"sandbox_mode": {"enable": True}}))
    fake.wait_until_posted(PATIENCE)
    assert {event["email"] for event in webhook.events} == {"yes@example.com"}


def test_on_post_is_called_for_each_post(start: Start, webhook: WebhookReceiver) -> None:
    posts: list[EventPost] = []
    webhook.statuses = [503]
    fake = start(on_post=posts.append)
    post_mail(fake.url, mail_body())
    fake.wait_until_posted(PATIENCE)
    assert [(one.status, len(one.events), one.succeeded) for one in posts] == [
        (503, 2, False),
        (200, 2, True),
    ]
