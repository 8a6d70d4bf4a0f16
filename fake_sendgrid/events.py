"""Events in SendGrid's form, for messages that were never sent."""

import base64
import random
from collections.abc import Iterator, Mapping
from typing import Any

Event = dict[str, Any]

_HOST = "recvd-6b8f5d9c7-lq4zt-1-6A01C2D3-5"
_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

#: The account number; SendGrid's event ids contain it.
_ACCOUNT = 77001122

#: Scenarios of a message, with their weights in per cent.
_SCENARIO_WEIGHTS: dict[tuple[str, ...], int] = {
    ("processed", "delivered"): 40,
    ("processed", "delivered", "open"): 25,
    ("processed", "delivered", "open", "click"): 15,
    ("processed", "deferred", "delivered"): 8,
    ("processed", "bounce"): 6,
    ("processed", "delivered", "open", "unsubscribe"): 2,
    ("processed", "delivered", "spamreport"): 1,
    ("dropped",): 3,
}

#: The fields of one kind of event, beside the fields that every event has.
_STEP_FIELDS: dict[str, Event] = {
    "delivered": {"response": "250 2.0.0 OK queued as 4FqK2n", "tls": 1, "ip": "198.51.100.7"},
    "deferred": {"response": "451 4.7.1 try again later", "attempt": "1", "ip": "198.51.100.7"},
    "bounce": {
        "type": "bounce",
        "reason": "550 5.1.1 no mailbox of that name",
        "status": "5.1.1",
        "bounce_classification": "Invalid Address",
    },
    # In the JSON a block is a bounce of another type (Event Webhook Reference).
    "blocked": {
        "event": "bounce",
        "type": "blocked",
        "reason": "554 5.7.1 not from your address, today",
        "status": "5.7.1",
        "bounce_classification": "Reputation",
    },
    "dropped": {"reason": "Bounced Address"},
    "invalid": {"event": "dropped", "reason": "Invalid"},
    "open": {"useragent": _AGENT, "ip": "203.0.113.9", "sg_machine_open": False},
    "click": {
        "useragent": _AGENT,
        "ip": "203.0.113.9",
        "url": "https://shop.example/spring?ref=mail",
        "url_offset": {"index": 0, "type": "html"},
    },
    "unsubscribe": {},
    "spamreport": {},
    "processed": {"send_at": 0},
}

#: The kinds of events by the names of the steps. A block is a bounce, and an invalid address a drop.
STEPS = tuple(_STEP_FIELDS)


def generate_events(count: int, seed: int = 1, start: int = 1_780_000_000) -> list[Event]:
    """Return `count` events of many messages; the events of one message are in their order.

    The same seed makes the same events.
    """
    rng = random.Random(seed)  # noqa: S311 (not for secrets)
    events: list[Event] = []
    while len(events) < count:
        events.extend(message_events(rng, start + len(events)))
    return events[:count]


def message_events(rng: random.Random, at: int) -> Iterator[Event]:
    """Yield the events of one message, sent at `at` (Unix seconds)."""
    base = random_id(rng)
    (scenario,) = rng.choices(list(_SCENARIO_WEIGHTS), list(_SCENARIO_WEIGHTS.values()))
    number = rng.randrange(10**6)
    args = {"anymail_id": f"{number:06d}-{base}", "order": str(number)}
    for step, fields in enumerate(event_steps(scenario, base, 0, rng, {})):
        yield {
            **args,
            "email": f"reader{number}@example.com",
            "timestamp": at + 40 * step,
            "category": ["spring-sale"],
            **fields,
        }


def event_steps(  # noqa: PLR0913 (they are the parts of the ids)
    scenario: tuple[str, ...],
    base: str,
    index: int,
    rng: random.Random,
    headers: Mapping[str, str],
    *,
    attempt: int = 0,
) -> Iterator[Event]:
    """Yield SendGrid's own fields of each step: ids and details.

    `base` is the X-Message-Id, `index` the recipient's place in the request, `headers` the headers of that
    recipient, `attempt` the number of earlier attempts to deliver the mail.
    """
    for done, step in enumerate(scenario):
        name = _STEP_FIELDS[step].get("event", step)
        yield {
            "smtp-id": message_id(base, headers),
            "event": name,
            "sg_event_id": _event_id(
                name, f"{base}-{index}", attempt + scenario[:done].count("deferred"), rng
            ),
            "sg_message_id": f"{base}.{_HOST}.{index}",
            **_STEP_FIELDS[step],
        }


def message_id(base: str, headers: Mapping[str, str]) -> str:
    """The Message-ID of a recipient's mail: from the request's `headers`, else SendGrid's own."""
    own = [value for name, value in headers.items() if name.lower() == "message-id"]
    return own[-1] if own else f"<{base}@geopod-ismtpd-3>"


def _event_id(name: str, message: str, attempt: int, rng: random.Random) -> str:
    # SendGrid derives the ids of delivery events from the message; ids of engagement events are random.
    if name in ("open", "click", "unsubscribe", "spamreport"):
        return random_id(rng)
    words = {"processed": "processed", "dropped": "drop"}.get(name, f"{name}-{attempt}")
    return base64.urlsafe_b64encode(f"{words}-{_ACCOUNT}-{message}".encode()).decode().rstrip("=")


def random_id(rng: random.Random) -> str:
    """22 random characters, in the form of an X-Message-Id."""
    return base64.urlsafe_b64encode(rng.randbytes(16)).decode().rstrip("=")
