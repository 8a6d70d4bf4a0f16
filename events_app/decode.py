"""Decodes the bytes of a posted element into a JSON object, and computes the dedupe key of an event.

For arbitrary bytes the result is an object and a key, or `Unreadable`.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec

#: SendGrid's own objects are two levels deep. The depth at which reading, copying or dumping raises
#: RecursionError differs between Python versions. Within this limit no later step raises RecursionError.
MAX_DEPTH = 100

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


def dedupe_key(event: Mapping[str, Any], by: str = "event_id") -> bytes:
    """The 16 bytes that duplicates of an event share; `by="content"` ignores SendGrid's id.

    Ids are case-sensitive base64 (Event Webhook Reference) and are compared as bytes.
    """
    sg_event_id = None if by == "content" else event_id(event)
    if sg_event_id is not None:
        return _hash(sg_event_id.encode("utf-8", "surrogatepass"), b"sendgrid id")
    # The whole object: two events that differ anywhere are two events, and a lost event is worse than a
    # stored duplicate. Without the id: duplicates with different ids have been reported (sendgrid-nodejs
    # issue 1435).
    facts = {name: fact for name, fact in event.items() if name != "sg_event_id"}
    # The encoder escapes every character outside ASCII, so lone surrogates pass.
    return _hash(_canonical(facts).encode("ascii"), b"sendgrid facts")


def raw_key(raw: bytes) -> bytes:
    """The dedupe key of an unreadable element."""
    return _hash(raw, b"sendgrid raw")


def _hash(data: bytes, person: bytes) -> bytes:
    # A `person` for each source of the hash, so that nobody can choose an id with the hash of another event's
    # content.
    return blake2b(data, digest_size=16, person=person).digest()
