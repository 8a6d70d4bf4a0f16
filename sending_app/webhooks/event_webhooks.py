"""The Event Webhooks of an account: read, created, changed, signed, tested and deleted, each by one call.

Source: the published specification of the Webhooks API (twilio/sendgrid-oai, tsg_webhooks_v3). Answers may
differ from it: fields may be missing or null.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError

from sending_app.webhooks import arrivals, passwords, urls
from sending_app.webhooks.calls import CallFailed, Calls
from sending_app.webhooks.oauth import OAuth

#: The events that a webhook posts by default. The names are those of the switches.
EVENTS = (
    *("processed", "deferred", "delivered", "dropped", "bounce", "open", "click", "spam_report"),
    *("unsubscribe", "group_unsubscribe", "group_resubscribe"),
)

#: The API shows and sets this switch only on request.
STATUS_CHANGE = "account_status_change"

_SETTINGS = "user/webhooks/event/settings"
_INCLUDE = f"?include={STATUS_CHANGE}"


@dataclass(frozen=True)
class EventWebhook:
    #: In a dry run, a webhook that would be created has the id "{id}".
    id: str
    url: str = field(repr=False)  # may have a password
    enabled: bool = False
    name: str = ""
    events: frozenset[str] = frozenset(EVENTS)
    #: Empty: its posts are not signed.
    public_key: str = ""
    oauth_client_id: str = ""
    oauth_token_url: str = ""
    #: None if the answer has no date.
    updated: datetime | None = None

    @property
    def shown_url(self) -> str:
        return urls.masked(self.url)

    def settings(self, oauth: OAuth | None) -> dict[str, Any]:
        """The complete object: the API does not say what becomes of a field that is left out."""
        switches = {name: name in self.events for name in (*EVENTS, STATUS_CHANGE)}
        # SendGrid stores the secret, and keeps it if it is left out.
        known = {"oauth_client_id": self.oauth_client_id, "oauth_token_url": self.oauth_token_url}
        fields = oauth.of_event_webhook() if oauth else (known if self.oauth_client_id else {})
        return {"enabled": self.enabled, "url": self.url, "friendly_name": self.name, **switches, **fields}


@dataclass(frozen=True)
class EventWebhooks:
    webhooks: list[EventWebhook]
    #: The limit of the plan; None if the answer has no number.
    max_allowed: int | None

    def at(self, url: str) -> list[EventWebhook]:
        """The webhooks with the target of the URL, oldest first."""
        target = urls.target(url)
        same = [hook for hook in self.webhooks if urls.target(hook.url) == target and urls.number(hook.url)]
        return sorted(same, key=lambda hook: urls.number(hook.url) or 0)

    def named(self, url: str) -> list[EventWebhook]:
        """Those that an operator means by the URL. With a query in it, only the webhook with this query."""
        if not urls.query(url):
            return self.at(url)
        wanted = urls.target(url), urls.query(url)
        return [hook for hook in self.webhooks if (urls.target(hook.url), urls.query(hook.url)) == wanted]

    @property
    def is_full(self) -> bool:
        return self.max_allowed is not None and len(self.webhooks) >= self.max_allowed


def read_webhooks(calls: Calls) -> EventWebhooks:
    answer = calls.read(f"{_SETTINGS}/all{_INCLUDE}")
    answer = answer if isinstance(answer, Mapping) else {}
    objects = answer.get("webhooks")
    webhooks = [
        _parsed(item, calls)
        for item in (objects if isinstance(objects, list) else [])
        if isinstance(item, Mapping) and item.get("id") and item.get("url")  # without any, the list is [{}]
    ]
    most = answer.get("max_allowed")
    return EventWebhooks(webhooks, int(most) if isinstance(most, int | float) else None)


def create_webhook(calls: Calls, webhook: EventWebhook, oauth: OAuth | None) -> EventWebhook:
    """Create the webhook, not enabled and not signed."""
    meaning = f"create a webhook for {webhook.shown_url}, not enabled"
    body = webhook.settings(oauth)
    answer = calls.write("POST", f"{_SETTINGS}{_INCLUDE}", body, meaning, {"id": "{id}"})
    created = str(answer.get("id") or "") if isinstance(answer, Mapping) else ""
    if not created:
        raise CommandError("SendGrid answered without the id of the new webhook. Run the same command again.")
    return replace(webhook, id=created)


def change_webhook(
    calls: Calls, webhook: EventWebhook, meaning: str, oauth: OAuth | None = None
) -> EventWebhook:
    calls.write("PATCH", f"{_SETTINGS}/{webhook.id}{_INCLUDE}", webhook.settings(oauth), meaning)
    return webhook


def enable(calls: Calls, webhook: EventWebhook, oauth: OAuth | None = None) -> EventWebhook:
    return change_webhook(calls, replace(webhook, enabled=True), f"enable {_called(webhook)}", oauth)


def disable(calls: Calls, webhook: EventWebhook) -> EventWebhook:
    return change_webhook(calls, replace(webhook, enabled=False), f"disable {_called(webhook)}")


def sign_webhook(calls: Calls, webhook: EventWebhook) -> EventWebhook:
    """Make a key pair, and sign posts from now on. In a dry run the key stays empty."""
    meaning = f"turn on the signature of {_called(webhook)}"
    answer = calls.write("PATCH", f"{_SETTINGS}/signed/{webhook.id}", {"enabled": True}, meaning, {})
    key = _text(answer, "public_key")
    if calls.apply and not key:
        key = _key(calls, webhook.id)
    return replace(webhook, public_key=key)


def unsign_webhook(calls: Calls, webhook: EventWebhook) -> EventWebhook:
    """Delete the key pair. Posts are not signed from now on."""
    meaning = f"turn off the signature of {_called(webhook)}, which deletes its key"
    calls.write("PATCH", f"{_SETTINGS}/signed/{webhook.id}", {"enabled": False}, meaning)
    return replace(webhook, public_key="")


def delete_webhook(calls: Calls, webhook: EventWebhook) -> None:
    calls.write("DELETE", f"{_SETTINGS}/{webhook.id}", None, f"delete {_called(webhook)}")


def run_test(calls: Calls, webhook: EventWebhook, oauth: OAuth | None, seconds: float) -> None:
    """Let SendGrid post its test, and wait until its events are stored. Raises CommandError."""
    before = arrivals.newest() if calls.apply else 0
    body = {"url": webhook.url, "id": webhook.id, **(oauth.of_event_webhook() if oauth else {})}
    calls.write(
        "POST", "user/webhooks/event/test", body, f"let SendGrid post its test to {webhook.shown_url}"
    )
    if not calls.apply:
        calls.say(f"Then it waits up to {seconds:g} seconds until the events of the test are stored.")
        return
    calls.say(f"Waiting up to {seconds:g} seconds for the events of the test ...")
    count = arrivals.wait(before, seconds)
    if not count:
        raise CommandError(
            "No event of the test has been stored. Look at the log of web: a refused post has a reason there "
            "(403: was web restarted with the key?). Without a line, SendGrid cannot reach the URL. With a "
            "200, look at the workers: manage.py events status."
        )
    calls.say(f"Stored: {count} events of the test. Web, Redis, a worker and the database pass posts on.")


def can_test(webhook: EventWebhook) -> bool:
    """SendGrid's test fails with a password in the URL (Troubleshooting the Event Webhook)."""
    return passwords.in_url(webhook.url) is None


def _called(webhook: EventWebhook) -> str:
    return f"webhook {webhook.id} ({webhook.shown_url})"


def _parsed(item: Mapping[str, Any], calls: Calls) -> EventWebhook:
    webhook_id = str(item["id"])
    return EventWebhook(
        id=webhook_id,
        url=str(item["url"]),
        enabled=item.get("enabled") is True,
        name=_text(item, "friendly_name"),
        events=frozenset(name for name in (*EVENTS, STATUS_CHANGE) if item.get(name) is True),
        public_key=_text(item, "public_key") if "public_key" in item else _key(calls, webhook_id),
        oauth_client_id=_text(item, "oauth_client_id"),
        oauth_token_url=_text(item, "oauth_token_url"),
        # A published example has the second name.
        updated=_date(item.get("updated_date") or item.get("updated_at")),
    )


def _key(calls: Calls, webhook_id: str) -> str:
    """Ask for the key of a webhook. Empty if posts are not signed."""
    try:
        return _text(calls.read(f"{_SETTINGS}/signed/{webhook_id}"), "public_key")
    except CallFailed as failed:
        if failed.status == 404:
            return ""
        raise


def _text(item: object, name: str) -> str:
    return str(item.get(name) or "") if isinstance(item, Mapping) else ""


def _date(value: object) -> datetime | None:
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        date = datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
