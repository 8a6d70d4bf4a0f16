"""The bytes of one posted element, read as a JSON object and given the key its copies share.

Whatever bytes come in, what comes out is an object, a key, or `Unreadable`.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec

#: SendGrid's own objects are two levels deep. Each Python has another bound at which reading,
#: copying or dumping raises RecursionError; below this one no step after decoding can meet it.
MAX_DEPTH = 100

_KINDS = {list: "an array", str: "a string", bool: "true or false", int: "a number", float: "a number"}

_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False).encode


class Unreadable(ValueError):
    """An element is not a JSON object; says why, and repeats nothing of what it held."""


def decode(raw: bytes) -> dict[str, Any]:
    """The object in `raw`, read as tolerantly as it takes; raises Unreadable, and nothing else."""
    try:
        found = msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        found = None
    # Outside the handler: the error of the first try would hang on Unreadable as its context,
    # and a UnicodeDecodeError carries the payload.
    event = found if isinstance(found, dict) else _decode_tolerantly(raw)
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _is_too_deep(event):
        raise Unreadable(f"The element nests deeper than {MAX_DEPTH} levels.")
    return event


def _decode_tolerantly(raw: bytes) -> dict[str, Any]:
    # surrogateescape, not replace: ids that differ in one undecodable byte must stay different.
    text = raw.decode("utf-8", "surrogateescape")
    try:
        found = json.loads(text, strict=False)
    except json.JSONDecodeError as error:
        why = f"is not JSON: reading stopped at character {error.pos} of {len(text)}."
    except RecursionError:
        why = f"nests deeper than {MAX_DEPTH} levels."
    except ValueError:
        why = "holds a number of more digits than Python reads."  # sys.get_int_max_str_digits()
    else:
        if isinstance(found, dict):
            return found
        why = f"is JSON, but {_KINDS.get(type(found), 'null')} and not an object."
    raise Unreadable(f"The element {why}")


def _is_too_deep(event: dict[str, Any]) -> bool:
    level: list[Any] = [event]
    for _ in range(MAX_DEPTH):
        inside = [child for part in level for child in (part.values() if isinstance(part, dict) else part)]
        level = [child for child in inside if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def event_id(event: Mapping[str, Any]) -> str | None:
    """SendGrid's id of this event, byte for byte.

    None where there is none: the legacy newsletter unsubscribe never had one (Event Webhook
    Reference), and others have come without (sendgrid/docs issue 2862).
    """
    found = event.get("sg_event_id")
    if isinstance(found, str):
        return found or None
    return str(found) if isinstance(found, int) and not isinstance(found, bool) else None


def dedupe_key(event: Mapping[str, Any], by: str = "event_id") -> bytes:
    """The 16 bytes all copies of one event share; `by="content"` passes over SendGrid's id.

    Ids are case-sensitive base64 (Event Webhook Reference) and are compared as bytes.
    """
    found = None if by == "content" else event_id(event)
    if found is None:
        return _hash(_fingerprint(event), b"sendgrid facts")
    return _hash(found.encode("utf-8", "surrogatepass"), b"sendgrid id")


def raw_key(raw: bytes) -> bytes:
    """The key of an element that `decode` refused."""
    return _hash(raw, b"sendgrid raw")


def _fingerprint(event: Mapping[str, Any]) -> bytes:
    # The whole object, not a choice of its fields: two facts that differ anywhere are two
    # facts, and losing one is worse than keeping a twin. The id alone stays out, since copies
    # of one fact have been reported to come with different ids (sendgrid-nodejs issue 1435).
    facts = {key: value for key, value in event.items() if key != "sg_event_id"}
    # The encoder escapes all that is not ASCII, so lone surrogates pass.
    return _canonical(facts).encode("ascii")


def _hash(data: bytes, person: bytes) -> bytes:
    # A `person` for each kind, so that no id can be chosen to equal another event's fingerprint.
    return blake2b(data, digest_size=16, person=person).digest()
