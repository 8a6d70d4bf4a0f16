"""The Event Webhooks of an account, as the settings API makes them. Each has a URL, switches and a key pair.

Source: the published specification of the Webhooks API (twilio/sendgrid-oai, tsg_webhooks_v3).
"""

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import requests

from fake_sendgrid import integration_test
from fake_sendgrid.event_webhook import EventPost, EventWebhook, PostingOptions
from fake_sendgrid.events import Event
from fake_sendgrid.oauth import OAuthClient
from fake_sendgrid.settings_faults import Refused, check_types, check_url, not_found
from fake_sendgrid.switchable_sender import SwitchableSender
from fake_sendgrid.webhook_sender import event_batch

STATUS_CHANGE = "account_status_change"

_EVENTS = (
    *("processed", "deferred", "delivered", "dropped", "bounce", "open", "click", "spam_report"),
    *("unsubscribe", "group_unsubscribe", "group_resubscribe", STATUS_CHANGE),
)
_TEXTS = ("friendly_name", "oauth_client_id", "oauth_client_secret", "oauth_token_url")

#: Posts of a test before the double gives up.
_MOST_TRIES = 30


class _Webhook:
    def __init__(self, webhook_id: str, on_post: Callable[[EventPost], None]) -> None:
        self.id = webhook_id
        self.settings: dict[str, Any] = {}
        self.created = self.updated = time.time()
        self.sender = SwitchableSender()
        self.queue = EventWebhook(self.sender, PostingOptions(), on_post=on_post)

    def change(self, settings: Mapping[str, Any]) -> None:
        # The specification does not say whether an absent switch keeps its value. Here an absent switch is
        # turned off, so that tests find a client that relies on the old value.
        switches = {name: settings.get(name, False) for name in ("enabled", *_EVENTS)}
        texts = {name: settings[name] for name in _TEXTS if name in settings}
        self.settings |= {**switches, **texts, "url": settings["url"]}
        self.sender.authorize(OAuthClient.of_event_webhook(self.settings))
        self.queue.url = settings["url"]
        self.updated = time.time()

    def wants(self, event: Event) -> bool:
        name = str(event["event"])
        return bool(self.settings["spam_report" if name == "spamreport" else name])

    def wanted(self, make: Callable[[], list[Event]]) -> list[Event]:
        return [event for event in make() if self.wants(event)]

    def answer(self, *, with_status_change: bool) -> dict[str, Any]:
        hidden = {"oauth_client_secret", *(() if with_status_change else (STATUS_CHANGE,))}
        dates = {"created_date": _date(self.created), "updated_date": _date(self.updated)}
        key = {"public_key": self.sender.public_key} if self.sender.signs else {}
        shown = {name: value for name, value in self.settings.items() if name not in hidden}
        return {"id": self.id, **shown, **dates, **key}

    def signature(self) -> dict[str, str]:
        return {"id": self.id, "public_key": self.sender.public_key if self.sender.signs else ""}


class EventWebhooks:
    """`max_allowed` is the limit of the plan; it may change at any time."""

    def __init__(self, on_post: Callable[[EventPost], None]) -> None:
        self.max_allowed = 5
        self._on_post = on_post
        self._webhooks: dict[str, _Webhook] = {}
        self._closed = threading.Event()

    def __len__(self) -> int:
        return len(self._webhooks)

    # The calls of the API

    def all(self, *, with_status_change: bool) -> dict[str, Any]:
        # Without webhooks, the real list has one empty object.
        objects = [
            webhook.answer(with_status_change=with_status_change) for webhook in self._webhooks.values()
        ]
        return {"max_allowed": self.max_allowed, "webhooks": objects or [{}]}

    def create(self, body: Mapping[str, Any], *, with_status_change: bool) -> dict[str, Any]:
        url = self._checked_url(body)
        if len(self) >= self.max_allowed:
            raise Refused(400, "maximum number of webhooks reached for your plan")
        webhook = _Webhook(str(uuid.uuid4()), self._on_post)
        webhook.change(self._visible(body, with_status_change=with_status_change) | {"url": url})
        self._webhooks[webhook.id] = webhook
        return webhook.answer(with_status_change=with_status_change)

    def get(self, webhook_id: str | None, *, with_status_change: bool) -> dict[str, Any]:
        return self._find(webhook_id).answer(with_status_change=with_status_change)

    def change(
        self, webhook_id: str | None, body: Mapping[str, Any], *, with_status_change: bool
    ) -> dict[str, Any]:
        webhook = self._find(webhook_id)
        url = self._checked_url(body, but=webhook)
        webhook.change(self._visible(body, with_status_change=with_status_change) | {"url": url})
        return webhook.answer(with_status_change=with_status_change)

    def delete(self, webhook_id: str) -> None:
        webhook = self._find(webhook_id)
        del self._webhooks[webhook.id]
        webhook.queue.close()

    def signature(self, webhook_id: str | None) -> dict[str, str]:
        return self._find(webhook_id).signature()

    def sign(self, webhook_id: str | None, body: Mapping[str, Any]) -> dict[str, str]:
        """Turning it off deletes the key pair."""
        webhook = self._find(webhook_id)
        if not isinstance(body.get("enabled"), bool):
            raise Refused(400, "enabled has a wrong type", field="enabled")
        webhook.sender.switch(on=body["enabled"])
        webhook.updated = time.time()
        return webhook.signature()

    def post_test(self, body: Mapping[str, Any]) -> None:
        """Post a test to the URL. The signature is that of the webhook with the id."""
        url = check_url(body)
        sender = self._find(body["id"]).sender if "id" in body else SwitchableSender()
        if "id" not in body:
            sender.authorize(OAuthClient.of_event_webhook(body))
        threading.Thread(target=self._post_test, args=[url, sender], daemon=True).start()

    # What the double does with them

    def schedule(self, make: Callable[[], list[Event]]) -> None:
        """Post the events of a mail from each enabled webhook. Without one, no webhook ever posts them."""
        shared = _once(make)
        for webhook in self._enabled():
            webhook.queue.schedule(partial(webhook.wanted, shared))

    def add(self, event: Event) -> None:
        for webhook in self._enabled():
            if webhook.wants(event):
                webhook.queue.add(event)

    def public_keys(self) -> list[str]:
        """The keys of the webhooks that sign, oldest first."""
        return [hook.sender.public_key for hook in self._webhooks.values() if hook.sender.signs]

    def wait_until_posted(self, seconds: float) -> None:
        """Raises TimeoutError."""
        for webhook in list(self._webhooks.values()):
            webhook.queue.wait_until_posted(seconds)

    def pass_time(self, seconds: float) -> None:
        """Let the last change of each webhook be so much longer ago."""
        for webhook in self._webhooks.values():
            webhook.created -= seconds
            webhook.updated -= seconds

    def clear(self) -> None:
        """Drop the events that have not been accepted."""
        for webhook in self._webhooks.values():
            webhook.queue.clear()

    def remove_all(self) -> None:
        for webhook_id in list(self._webhooks):
            self.delete(webhook_id)

    def close(self) -> None:
        self._closed.set()
        self.remove_all()

    def _enabled(self) -> list[_Webhook]:
        return [webhook for webhook in list(self._webhooks.values()) if webhook.settings["enabled"]]

    def _find(self, webhook_id: str | None) -> _Webhook:
        """Without an id: the oldest webhook."""
        webhook = self._webhooks.get(webhook_id) if webhook_id else next(iter(self._webhooks.values()), None)
        if webhook is None:
            raise not_found()
        return webhook

    def _checked_url(self, body: Mapping[str, Any], but: _Webhook | None = None) -> str:
        """The URL, which no other webhook may have. Raises Refused."""
        url = check_url(body)
        check_types(body, bool, "enabled", *_EVENTS)
        check_types(body, str, *_TEXTS)
        for other in self._webhooks.values():
            if other is not but and other.settings["url"] == url:
                raise Refused(
                    400, "a webhook with this url already exists", field="url", id=other.id, url=url
                )
        return url

    @staticmethod
    def _visible(body: Mapping[str, Any], *, with_status_change: bool) -> dict[str, Any]:
        return {name: value for name, value in body.items() if with_status_change or name != STATUS_CHANGE}

    def _post_test(self, url: str, sender: SwitchableSender) -> None:
        events = integration_test.events(int(time.time()))
        parts = urlsplit(url)
        # The real test does not work with a user and password in the URL (Troubleshooting the Event Webhook).
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        for tries in range(_MOST_TRIES):
            status = None
            with suppress(requests.RequestException):
                status = sender.post(bare, event_batch(events)).status_code
            post = EventPost(events, status)
            if not self._closed.is_set():
                self._on_post(post)
            if post.succeeded or self._closed.wait(min(0.1 * 2**tries, 2.0)):
                return


def _once(make: Callable[[], list[Event]]) -> Callable[[], list[Event]]:
    """`make`, called once: two webhooks post the same events."""
    lock = threading.Lock()
    made: list[Event] | None = None

    def get() -> list[Event]:
        nonlocal made
        with lock:
            if made is None:
                made = make()
            return made

    return get


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
