"""Events of accepted mails reach the webhook: signed, in batches, and until they are taken."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest

from events_app.signature import verify
from fake_sendgrid import door
from fake_sendgrid.answers import accept_and_hang_up, server_error
from fake_sendgrid.postman import Post, Rates
from fake_sendgrid.server import FakeSendGrid
from ground.process import wait_for
from tests.fake_sendgrid.mails import mail, post

PATIENCE = 30


class Webhook:
    """Takes posts as it is told, and remembers them."""

    def __init__(self) -> None:
        self.requests: list[door.Request] = []
        self.taken: list[door.Request] = []
        #: What the next posts are answered; then 200.
        self.statuses: list[int | None] = []
        self.came = threading.Event()
        self._door = door.Door(self._respond)
        self._door.open()
        self.url = f"http://127.0.0.1:{self._door.port}/events"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._door.close()

    def _respond(self, request: door.Request) -> door.Reply | None:
        self.requests.append(request)
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.taken.append(request)
        self.came.set()
        return door.Reply(status, {}, b"") if status else None

    @property
    def posts(self) -> list[list[dict[str, Any]]]:
        return [json.loads(request.body) for request in self.taken]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for post in self.posts for event in post]

    @property
    def names(self) -> Counter[str]:
        return Counter(event["event"] for event in self.events)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as webhook:
        yield webhook


Start = Callable[..., FakeSendGrid]


@pytest.fixture
def start(webhook: Webhook) -> Iterator[Start]:
    """A double that posts to the webhook."""
    started: list[FakeSendGrid] = []

    def start(**knobs: Any) -> FakeSendGrid:
        started.append(FakeSendGrid(**{"webhook_url": webhook.url, **knobs}))
        return started[-1]

    yield start
    for one in started:
        one.close()


def many(count: int, word: str = "reader") -> dict[str, Any]:
    return mail(*(f"{word}{number}@example.com" for number in range(count)))


def test_events_are_posted_and_signed(start: Start, webhook: Webhook) -> None:
    fake = start()
    message_id = post(fake.url, mail("click@example.com")).headers["X-Message-Id"]
    fake.wait_until_posted(PATIENCE)
    (request,) = webhook.requests
    signature = request.headers["X-Twilio-Email-Event-Webhook-Signature"]
    timestamp = request.headers["X-Twilio-Email-Event-Webhook-Timestamp"]
    assert verify([fake.public_key], timestamp=timestamp, signature=signature, body=request.body)
    assert [event["event"] for event in webhook.events] == ["processed", "delivered", "open", "click"]
    assert all(event["sg_message_id"].startswith(f"{message_id}.") for event in webhook.events)
    assert fake.posted == webhook.names


def test_events_are_gathered_and_cut(start: Start, webhook: Webhook) -> None:
    fake = start(rates=Rates(batch=7, pause=0))
    post(fake.url, many(10))
    fake.wait_until_posted(PATIENCE)
    assert [len(post) for post in webhook.posts] == [7, 7, 6]


def test_a_full_batch_does_not_wait(start: Start, webhook: Webhook) -> None:
    fake = start(rates=Rates(batch=4, pause=3600))
    for _ in range(4):
        post(fake.url, mail())
    assert webhook.came.wait(PATIENCE)
    assert len(webhook.posts[0]) == 4


@pytest.mark.parametrize("status", [500, 403, 302, None])
def test_what_was_not_taken_is_posted_again(start: Start, webhook: Webhook, status: int | None) -> None:
    webhook.statuses = [status, status]
    fake = start()
    post(fake.url, mail())
    fake.wait_until_posted(PATIENCE)
    assert len(webhook.requests) == 3
    assert webhook.names == fake.posted == {"processed": 1, "delivered": 1}


def test_events_wait_for_a_webhook(start: Start, webhook: Webhook) -> None:
    fake = start(webhook_url=None)
    post(fake.url, mail())
    with pytest.raises(TimeoutError, match="webhook_url is not set"):
        fake.wait_until_posted(0)
    fake.webhook_url = webhook.url
    fake.wait_until_posted(PATIENCE)
    assert fake.webhook_url == webhook.url
    assert webhook.names == {"processed": 1, "delivered": 1}


def test_nobody_at_the_webhook_costs_time_only(start: Start, webhook: Webhook) -> None:
    tried = threading.Event()
    fake = start(webhook_url="http://127.0.0.1:1/", on_post=lambda _: tried.set())
    post(fake.url, mail())
    assert tried.wait(PATIENCE)
    fake.webhook_url = webhook.url
    fake.wait_until_posted(PATIENCE)
    assert webhook.names == {"processed": 1, "delivered": 1}


def test_events_can_be_held(start: Start, webhook: Webhook) -> None:
    fake = start()
    fake.hold_events()
    post(fake.url, mail())
    with pytest.raises(TimeoutError):
        fake.wait_until_posted(0.2)
    assert webhook.requests == []
    fake.release_events()
    fake.wait_until_posted(PATIENCE)
    assert webhook.names == {"processed": 1, "delivered": 1}


def test_refused_events_can_be_kept_while_newer_ones_are_posted(start: Start, webhook: Webhook) -> None:
    webhook.statuses = [503]
    fake = start()
    fake.keep_refused()
    post(fake.url, mail())
    assert webhook.came.wait(PATIENCE)
    with pytest.raises(TimeoutError, match="0 mails' and 2 other events"):
        fake.wait_until_posted(0.2)
    assert fake.refused == 2
    post(fake.url, mail())
    wait_for(lambda: fake.posted == {"processed": 1, "delivered": 1}, seconds=PATIENCE, what="the newer ones")
    fake.repeat_refused()
    fake.wait_until_posted(PATIENCE)
    assert (fake.refused, len(webhook.requests)) == (0, 3)
    assert fake.posted == {"processed": 2, "delivered": 2}


def test_repeats_are_the_same_events_in_later_posts(start: Start, webhook: Webhook) -> None:
    fake = start(rates=Rates(repeats=1.0, pause=0.01))
    post(fake.url, many(30))
    fake.wait_until_posted(PATIENCE)
    ids = Counter(event["sg_event_id"] for event in webhook.events)
    assert len(ids) == 60
    assert set(ids.values()) == {2}
    assert fake.posted == {"processed": 60, "delivered": 60}
    for one in webhook.posts:
        assert len({event["sg_event_id"] for event in one}) == len(one)


def test_disorder_loses_nothing(start: Start, webhook: Webhook) -> None:
    fake = start(rates=Rates(disorder=0.5, repeats=0.2, pause=0.01, batch=50))
    post(fake.url, many(200))
    fake.wait_until_posted(PATIENCE)
    seen: dict[str, list[str]] = {}
    for event in webhook.events:
        seen.setdefault(event["email"], []).append(event["event"])
    assert len(seen) == 200
    assert all(set(names) == {"processed", "delivered"} for names in seen.values())
    assert any(names[0] == "delivered" for names in seen.values())
    assert 400 < len(webhook.events) < 560


def test_events_may_come_late(start: Start, webhook: Webhook) -> None:
    fake = start(rates=Rates(delay=0.4, pause=0))
    post(fake.url, mail())
    with pytest.raises(TimeoutError):
        fake.wait_until_posted(0.1)
    assert webhook.requests == []
    fake.wait_until_posted(PATIENCE)


def test_only_what_was_taken_has_events(start: Start, webhook: Webhook) -> None:
    fake = start()
    fake.next(server_error(), accept_and_hang_up())
    assert post(fake.url, mail("no@example.com")).status_code == 500
    with pytest.raises(OSError, match="closed connection"):
        post(fake.url, mail("yes@example.com"))
    post(fake.url, mail("silent@example.com"))
    post(fake.url, mail("sandbox@example.com", mail_settings={"sandbox_mode": {"enable": True}}))
    fake.wait_until_posted(PATIENCE)
    assert {event["email"] for event in webhook.events} == {"yes@example.com"}


def test_each_post_is_told_before_all_is_posted(start: Start, webhook: Webhook) -> None:
    told: list[Post] = []
    webhook.statuses = [503]
    fake = start(on_post=told.append)
    post(fake.url, mail())
    fake.wait_until_posted(PATIENCE)
    assert [(one.status, len(one.events), one.is_taken) for one in told] == [(503, 2, False), (200, 2, True)]
