"""One posted body -> the raw bytes of its elements, without decoding them.

The webhook view keeps bytes; what they mean is a worker's business. So one unreadable element never
costs its neighbours anything, and the view never pays for decoding.
"""

import json
import re
from collections.abc import Iterator
from itertools import islice

import msgspec

#: Elements one post may have. SendGrid posts at 768 KB, some 800 to 1,600 events.
MOST_EVENTS = 20_000

# Broken elements after which the rest of a body is kept as one: each costs a search for its end.
_MOST_BROKEN = 100

_array = msgspec.json.Decoder(list[msgspec.Raw])
_tolerant = json.JSONDecoder(strict=False)

_between = re.compile(r"[ \t\r\n,]*")
_closing = re.compile(r"\]?[ \t\r\n]*\Z")
# How SendGrid separates events. Only with the line's end: that cannot stand in a JSON string, so no
# text of a stranger's (a clicked URL, a browser's name) can pass for the start of an event.
_next_event = re.compile(r",[ \t]*\r?\n[ \t]*(?=\{)")


class NotAnArray(ValueError):
    """The body does not even begin like a JSON array: not an Event Webhook's post."""


class TooMany(ValueError):
    """The body has more elements than a post may have."""


def split(body: bytes) -> list[bytes]:
    """The body's elements as they stand in it.

    What is no JSON is an element too, up to where the next event begins: a worker stores it as
    unreadable, and nothing is lost. Raises NotAnArray or TooMany.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    if not body.lstrip(b" \t\r\n").startswith(b"["):
        raise NotAnArray("the body is not a JSON array of events")
    try:
        elements = [bytes(raw) for raw in _array.decode(body)]
    except (msgspec.MsgspecError, RecursionError, ValueError):
        elements = list(islice(_split_tolerantly(body), MOST_EVENTS + 1)) or [body]
    if len(elements) > MOST_EVENTS:
        raise TooMany(f"the body has more than the {MOST_EVENTS} events a post may have")
    return elements


def _split_tolerantly(body: bytes) -> Iterator[bytes]:
    """As `split`, for what strict JSON forbids: NaN, control characters, lone surrogates, bad UTF-8."""
    text = body.decode("utf-8", "surrogateescape")
    at = _after_space(text, text.index("[") + 1)
    broken = 0
    while not _closing.match(text, at):
        try:
            _, end = _tolerant.raw_decode(text, at)
            # A lone quote is a string to the tolerant decoder, up to the first quote in the next event.
            start = _next_event.search(text, at, end) if text[at] == '"' else None
            end = start.start() if start else end
        except (ValueError, RecursionError):
            broken += 1
            start = _next_event.search(text, at) if broken <= _MOST_BROKEN else None
            end = start.start() if start else len(text)
        yield text[at:end].encode("utf-8", "surrogateescape")
        at = _after_space(text, end)


def _after_space(text: str, at: int) -> int:
    match = _between.match(text, at)
    return match.end() if match else at
