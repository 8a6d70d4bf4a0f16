"""Decodes the bytes of a posted element into a JSON object, and computes the dedupe key of an event.

For arbitrary bytes the result is an object and a key, or `Unreadable`.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import msgspec

from events_app.shared import own_events

#: SendGrid's own objects are two levels deep. The depth at which reading, copying or dumping raises
#: RecursionError differs between Python versions. Within this limit no later step raises RecursionError.
MAX_DEPTH = 100

#: The smallest timestamp read as milliseconds. A Single Send sample has milliseconds (Event Webhook
#: Reference). In seconds this number is the year 5138, in milliseconds 1973.
FIRST_MILLISECOND = 10**11

_DIGITS = re.compile(r"[0-9]+(\.[0-9]+)?")
_EPOCH, _SECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(seconds=1)

#: The first bytes of a key without a usable time.
TIMELESS = bytes(4)

_KINDS = {list: "an array", str: "a string", bool: "true or false", int: "a number", float: "a number"}

_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False).encode


class Unreadable(ValueError):
    """An element is not a JSON object. The text gives the reason and repeats nothing of the element."""


def decode_object(raw: bytes) -> dict[str, Any]:
    """The object in `raw`, if necessary decoded tolerantly. Raises only Unreadable."""
    event: object
    try:
        event = msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        event = None
    # Not in the handler: Unreadable would have the first error as its context, and a UnicodeDecodeError
    # carries the payload.
    if not isinstance(event, dict):
        event = _decode_tolerantly(raw)
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _is_too_deep(event):
        raise Unreadable(f"The element nests deeper than {MAX_DEPTH} levels.")
    return event


def _decode_tolerantly(raw: bytes) -> dict[str, Any]:
    """Decode JSON that msgspec refuses: with invalid UTF-8, control characters in a string, or NaN."""
    # surrogateescape, not replace: ids that differ in one undecodable byte must stay different.
    text = raw.decode("utf-8", "surrogateescape")
    try:
        event = json.loads(text, strict=False)  # not strict: control characters are allowed
    except json.JSONDecodeError as error:
        why = f"is not JSON: reading stopped at character {error.pos} of {len(text)}."
    except RecursionError:
        why = f"nests deeper than {MAX_DEPTH} levels."
    except ValueError:
        why = "holds a number of more digits than Python reads."  # sys.get_int_max_str_digits()
    else:
        if isinstance(event, dict):
            return event
        why = f"is JSON, but {_KINDS.get(type(event), 'null')} and not an object."
    raise Unreadable(f"The element {why}")


def _is_too_deep(event: dict[str, Any]) -> bool:
    level: list[Any] = [event]
    for _ in range(MAX_DEPTH):
        children = [child for node in level for child in (node.values() if isinstance(node, dict) else node)]
        level = [child for child in children if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def event_id(event: Mapping[str, Any]) -> str | None:
    """SendGrid's id of the event, byte for byte; None if missing.

    The legacy newsletter unsubscribe has no id (Event Webhook Reference), and users report further events
    without an id (sendgrid/docs issue 2862).
    """
    sg_event_id = event.get("sg_event_id")
    if isinstance(sg_event_id, int) and not isinstance(sg_event_id, bool):
        return str(sg_event_id)
    return sg_event_id if isinstance(sg_event_id, str) and sg_event_id else None


def happened_at(event: Mapping[str, Any]) -> datetime | None:
    """SendGrid's timestamp, in UTC; None if missing or unreadable."""
    value = event.get("timestamp")
    if isinstance(value, str):
        digits = _DIGITS.fullmatch(value.strip())
        value = float(digits[0]) if digits else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        return None
    try:
        return datetime.fromtimestamp(value if value < FIRST_MILLISECOND else value / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def dedupe_key(event: Mapping[str, Any], by: str = "event_id") -> bytes:
    """The 16 bytes that duplicates of an event share; `by="content"` ignores SendGrid's id.

    The key begins with the event's time in seconds, so that the events of a day are neighbours in the index,
    and ends with a hash. Ids are case-sensitive base64 (Event Webhook Reference) and are compared as bytes.
    """
    # A repeat of SendGrid's bears the timestamp of the first post (sendgrid-nodejs issue 1435). A repeat of
    # ours may bear a later one.
    time = TIMELESS if own_events.is_own(event) else time_bytes(happened_at(event))
    sg_event_id = None if by == "content" else event_id(event)
    if sg_event_id is not None:
        return time + _hash(sg_event_id.encode("utf-8", "surrogatepass"), b"sendgrid id")
    # The whole object: two events that differ anywhere are two events, and a lost event is worse than a
    # stored duplicate. Without the id: duplicates with different ids have been reported (sendgrid-nodejs
    # issue 1435).
    facts = {name: fact for name, fact in event.items() if name != "sg_event_id"}
    # The encoder escapes every character outside ASCII, so lone surrogates pass.
    return time + _hash(_canonical(facts).encode("ascii"), b"sendgrid facts")


def raw_key(raw: bytes) -> bytes:
    """The dedupe key of an unreadable element."""
    return TIMELESS + _hash(raw, b"sendgrid raw")


def time_bytes(at: datetime | None) -> bytes:
    """The first four bytes of a key: whole seconds since 1970; zeros for None and for times after 2106."""
    # No look at the clock: a repeat must get the same bytes on another day.
    seconds = (at - _EPOCH) // _SECOND if at else 0
    return seconds.to_bytes(4) if seconds < 2**32 else TIMELESS


def _hash(data: bytes, person: bytes) -> bytes:
    # A `person` for each source of the hash, so that nobody can choose an id with the hash of another event's
    # content. Cut, not made shorter: older keys were the whole hash, so new keys can be made from these.
    return blake2b(data, digest_size=16, person=person).digest()[:12]
