"""Splits a posted body into the raw bytes of the array's elements, without decoding an element.

The webhook view stores bytes, and a worker decodes them. So an unreadable element never affects the
neighbouring elements, and the view stays fast.
"""

import json
import re
from collections.abc import Iterator
from itertools import islice

import msgspec

#: Elements that a post may have. SendGrid posts at 768 KB, about 800 to 1,600 events.
MOST_EVENTS = 20_000

# Broken elements in a body. After this number the rest of the body becomes one element: each broken element
# costs a search for its end.
_MOST_BROKEN = 100

_array = msgspec.json.Decoder(list[msgspec.Raw])
_tolerant = json.JSONDecoder(strict=False)

_between = re.compile(r"[ \t\r\n,]*")
_closing = re.compile(r"\]?[ \t\r\n]*\Z")
# How SendGrid separates events. The line end matters: no JSON string contains a raw line end, so a stranger's
# text (a clicked URL, a browser's name) cannot pass for the start of an event.
_next_event = re.compile(r",[ \t]*\r?\n[ \t]*(?=\{)")


class NotAnArray(ValueError):
    """The body does not start like a JSON array: not an Event Webhook's post."""


class TooMany(ValueError):
    """The body has more than `MOST_EVENTS` elements."""


def split(body: bytes) -> list[bytes]:
    """The raw bytes of the body's elements.

    Invalid JSON is an element too, up to the start of the next event. A worker stores the element as
    unreadable, so nothing is lost. Raises NotAnArray or TooMany.
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
    """Like `split`, but accepts NaN, control characters, lone surrogates and bad UTF-8."""
    text = body.decode("utf-8", "surrogateescape")
    at = _after_space(text, text.index("[") + 1)
    broken = 0
    while not _closing.match(text, at):
        try:
            _, end = _tolerant.raw_decode(text, at)
            # The tolerant decoder reads a lone quote as a string up to the first quote in the next event.
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
