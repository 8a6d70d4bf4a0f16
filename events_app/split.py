"""One posted body -> the raw bytes of its elements, without decoding them.

The door keeps bytes; what they mean is a worker's business. So one unreadable element never
costs its neighbours anything, and the door never pays for decoding.
"""

import json
import re

import msgspec

#: Elements one post may have. SendGrid posts at 768 KB, some 800 to 1,600 events.
MOST_EVENTS = 20_000

_array = msgspec.json.Decoder(list[msgspec.Raw])
_tolerant = json.JSONDecoder(strict=False)
_space = re.compile(r"[ \t\r\n]*")


class NotAnArray(ValueError):
    """The body does not even begin like a JSON array: not an Event Webhook's post."""


class TooMany(ValueError):
    """The body has more elements than a post may have."""


def split(body: bytes) -> list[bytes]:
    """The body's elements as they stand in it.

    A body that begins as an array but cannot be told apart is kept whole, as one element: a worker
    files it as unreadable, and nothing is lost. Raises NotAnArray or TooMany.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    if not body.lstrip(b" \t\r\n").startswith(b"["):
        raise NotAnArray("the body is not a JSON array of events")
    try:
        elements = [bytes(raw) for raw in _array.decode(body)]
    except (msgspec.MsgspecError, RecursionError, ValueError):
        elements = _split_tolerantly(body) or [body]
    if len(elements) > MOST_EVENTS:
        raise TooMany(f"the body has {len(elements)} events, more than the {MOST_EVENTS} allowed")
    return elements


def _split_tolerantly(body: bytes) -> list[bytes]:
    """As `split`, for what strict JSON forbids: NaN, control characters, lone surrogates, bad UTF-8.

    Empty where that fails too.
    """
    text = body.decode("utf-8", "surrogateescape")
    elements: list[bytes] = []
    at = _after_space(text, text.index("[") + 1)
    try:
        while True:
            _, end = _tolerant.raw_decode(text, at)
            elements.append(text[at:end].encode("utf-8", "surrogateescape"))
            at = _after_space(text, end)
            if text[at : at + 1] != ",":
                break
            at = _after_space(text, at + 1)
    except (ValueError, RecursionError):
        return []
    return elements if text[at:].strip(" \t\r\n") == "]" else []


def _after_space(text: str, at: int) -> int:
    match = _space.match(text, at)
    return match.end() if match else at
