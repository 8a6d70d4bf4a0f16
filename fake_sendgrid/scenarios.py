"""The events of an accepted mail. The beginning of each recipient's address selects the scenario.

All events happen at once; `send_at` delays nothing.
"""

import random
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fake_sendgrid.events import STEPS, Event, event_steps
from fake_sendgrid.rules.addresses import emails_of, folded, is_sent_to
from fake_sendgrid.rules.recipients import KINDS

#: Events by the beginning of the address, in lower case.
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
    if not is_sent_to(email):
        return ("invalid",)
    return next(
        (SCENARIOS[prefix] for prefix in SCENARIOS if _name(email).startswith(prefix)), DEFAULT_SCENARIO
    )


def sends_reply(email: str) -> bool:
    """Whether this recipient replies to an opened mail."""
    return _name(email).startswith("reply")


def _name(email: str) -> str:
    return email.lower().removeprefix('"')


def recipients(mail: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield each recipient's personalization and address, in the request's order."""
    for personalization in mail["personalizations"]:
        for kind in KINDS:
            for email in emails_of(personalization.get(kind)):
                yield personalization, email


def events(mail: Mapping[str, Any], message_id: str, at: int, rng: random.Random) -> list[Event]:
    """Return all events of a valid mail, each at `at` (Unix seconds); a recipient's events are in order."""
    made: list[Event] = []
    for index, (personalization, email) in enumerate(recipients(mail)):
        steps = event_steps(scenario_of(email), message_id, index, rng, headers(mail, personalization))
        made += _events(mail, personalization, email, at, steps)
    return made


def event(  # noqa: PLR0913 (as for `events`)
    step: str,
    mail: Mapping[str, Any],
    recipient: str,
    *,
    message_id: str,
    at: int,
    rng: random.Random,
    attempt: int,
) -> Event:
    """Return one event of a recipient, apart from the recipient's scenario.

    `attempt` counts such events of the recipient from 1: the scenario has the attempts before. Raises
    ValueError for an unknown step, and if `recipient` is no recipient of the mail.
    """
    if step not in STEPS:
        raise ValueError(f"no event {step!r}; the events are {', '.join(STEPS)}")
    for index, (personalization, email) in enumerate(recipients(mail)):
        if folded(email) == folded(recipient):
            steps = event_steps(
                (step,), message_id, index, rng, headers(mail, personalization), attempt=attempt
            )
            return next(_events(mail, personalization, email, at, steps))
    raise ValueError(f"{recipient} is no recipient of the mail")


def headers(mail: Mapping[str, Any], personalization: Mapping[str, Any]) -> dict[str, str]:
    """The mail's headers, overridden by the personalization's (docs, "Personalizations")."""
    return {**mail.get("headers", {}), **personalization.get("headers", {})}


def custom_args(mail: Mapping[str, Any], personalization: Mapping[str, Any]) -> dict[str, str]:
    """The mail's custom_args, overridden key by key by the personalization's (docs, "Personalizations")."""
    return {**mail.get("custom_args", {}), **personalization.get("custom_args", {})}


def _events(
    mail: Mapping[str, Any], personalization: Mapping[str, Any], email: str, at: int, steps: Iterator[Event]
) -> Iterator[Event]:
    args = custom_args(mail, personalization)
    common: Event = {"email": email, "timestamp": at}
    if "categories" in mail:
        common["category"] = mail["categories"]
    if "asm" in mail:
        common["asm_group_id"] = mail["asm"]["group_id"]
    for step in steps:
        # SendGrid's own keys win over custom_args. The set of keys depends on the event (Event Webhook
        # Reference).
        yield {**args, **common, **step, **_mail_fields(step["event"], mail, personalization, email)}


def _mail_fields(name: str, mail: Mapping[str, Any], personalization: Mapping[str, Any], email: str) -> Event:
    """The fields of the mail that one kind of event repeats."""
    if name == "processed":
        return {"send_at": personalization.get("send_at", mail.get("send_at", 0)), **_pool(mail)}
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
