"""What becomes of an accepted mail: each recipient's events, chosen by how the address begins.

All of it happens at once: a mail that is scheduled is not waited for.
"""

import random
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fake_sendgrid.events import Event, event_steps
from fake_sendgrid.rules.addresses import emails_of
from fake_sendgrid.rules.recipients import KINDS

#: By the beginning of the part before the @, in small letters.
SCENARIOS: dict[str, tuple[str, ...]] = {
    "bounce": ("processed", "bounce"),
    "blocked": ("processed", "blocked"),
    "dropped": ("dropped",),
    "deferred": ("processed", "deferred", "delivered"),
    "open": ("processed", "delivered", "open"),
    "click": ("processed", "delivered", "open", "click"),
    "spam": ("processed", "delivered", "spamreport"),
    "unsubscribe": ("processed", "delivered", "unsubscribe"),
    "reply": ("processed", "delivered", "open"),
    "silent": (),
}
DEFAULT_SCENARIO = ("processed", "delivered")

_LINK = re.compile(r"""https?://[^\s"'<>]+""")


def scenario_of(email: str) -> tuple[str, ...]:
    return next((SCENARIOS[word] for word in SCENARIOS if email.lower().startswith(word)), DEFAULT_SCENARIO)


def sends_reply(email: str) -> bool:
    """Whether somebody there answers what they have opened."""
    return email.lower().startswith("reply")


def recipients(mail: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Each recipient with the personalization, in the request's order."""
    for one in mail["personalizations"]:
        for kind in KINDS:
            for email in emails_of(one.get(kind)):
                yield one, email


def events(mail: Mapping[str, Any], message_id: str, at: int, rng: random.Random) -> list[Event]:
    """All events of a valid mail; each recipient's in the order they happen, all at `at` (Unix seconds)."""
    found: list[Event] = []
    for index, (one, email) in enumerate(recipients(mail)):
        own = event_steps(scenario_of(email), message_id, index, rng, headers(mail, one))
        found += _events(mail, one, email, at, own)
    return found


def headers(mail: Mapping[str, Any], one: Mapping[str, Any]) -> dict[str, str]:
    """A personalization's over the root's (docs, "Personalizations")."""
    return {**mail.get("headers", {}), **one.get("headers", {})}


def custom_args(mail: Mapping[str, Any], one: Mapping[str, Any]) -> dict[str, str]:
    """A personalization's over the root's, key by key (docs, "Personalizations")."""
    return {**mail.get("custom_args", {}), **one.get("custom_args", {})}


def _events(
    mail: Mapping[str, Any], one: Mapping[str, Any], email: str, at: int, found: Iterator[Event]
) -> Iterator[Event]:
    args = custom_args(mail, one)
    common: Event = {"email": email, "timestamp": at}
    if "categories" in mail:
        common["category"] = mail["categories"]
    if "asm" in mail:
        common["asm_group_id"] = mail["asm"]["group_id"]
    for step in found:
        # SendGrid's own keys win, and which it has depends on the event (Event Webhook Reference).
        yield {**args, **common, **step, **_of_the_mail(step["event"], mail, one, email)}


def _of_the_mail(name: str, mail: Mapping[str, Any], one: Mapping[str, Any], email: str) -> Event:
    """What one kind of event repeats of the mail."""
    if name == "processed":
        return {"send_at": one.get("send_at", mail.get("send_at", 0)), **_pool(mail)}
    if name == "dropped":
        return _pool(mail)
    if name == "deferred":
        return {"domain": email.rpartition("@")[2], "from": mail["from"]["email"]}
    if name == "click":
        return _clicked(mail)
    return {}


def _pool(mail: Mapping[str, Any]) -> Event:
    return {"pool": {"name": mail["ip_pool_name"], "id": 1874}} if "ip_pool_name" in mail else {}


def _clicked(mail: Mapping[str, Any]) -> Event:
    links = (_LINK.search(part["value"]) for part in reversed(mail.get("content", [])))
    return next(({"url": link[0]} for link in links if link), {})
