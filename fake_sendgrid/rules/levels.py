"""Rules for fields of the root and of personalizations: subject, headers, custom_args, send_at.

"Mail Send Errors" has the limits and the reserved names. Where SendGrid's pages disagree, the lower limit
holds.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from fake_sendgrid.rules.fault import BAD_REQUEST, Fault, mistyped, text

RESERVED_HEADERS = {
    *("x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"),
    *("to", "from", "subject", "reply-to", "cc", "bcc"),
}

#: The furthest `send_at`, in seconds from now.
MOST_AHEAD = 72 * 3600

#: The most bytes of custom arguments, a personalization's and the root's together.
CUSTOM_ARGS_LIMIT = 10_000


def faults(part: Mapping[str, Any], prefix: str, now: float) -> Iterator[Fault]:
    """Yield the faults of `part`. The names of its fields begin with `prefix`."""
    if "subject" in part:
        yield from text(part["subject"], f"{prefix}subject")
    if "headers" in part:
        yield from _headers(part["headers"], f"{prefix}headers")
    if "custom_args" in part:
        yield from _custom_args(part["custom_args"], f"{prefix}custom_args")
    if "send_at" in part:
        yield from _send_at(part["send_at"], f"{prefix}send_at", now)


def strings(value: object, field: str) -> Iterator[Fault]:
    """Yield the faults of a mapping of strings to strings."""
    yield from mistyped(value, dict, field)
    if isinstance(value, dict) and not all(isinstance(one, str) for one in value.values()):
        yield BAD_REQUEST


def _headers(headers: object, field: str) -> Iterator[Fault]:
    yield from strings(headers, field)
    names = list(headers) if isinstance(headers, dict) else []
    for name in names:
        if name.lower() in RESERVED_HEADERS:
            yield Fault(f"The header {name} is reserved.", f"{field}.{name}")
        if not name or not name.isascii() or not name.isprintable() or " " in name or ":" in name:
            yield Fault("A header's name must be ASCII, without spaces.", f"{field}.{name}")
    if len({name.lower() for name in names}) < len(names):
        yield Fault("A header may be given only once.", field)


def _custom_args(given: object, field: str) -> Iterator[Fault]:
    yield from strings(given, field)
    if given == {}:
        yield Fault("The custom_args, when used, must have at least one argument.", field)


def too_long(args: Mapping[str, Any], field: str) -> Iterator[Fault]:
    """Yield a fault if the merged arguments of a personalization reach the limit."""
    size = sum(len(f"{key}{value}".encode("utf-8", "replace")) for key, value in args.items())
    if size >= CUSTOM_ARGS_LIMIT:
        yield Fault(f"The custom_args must be less than {CUSTOM_ARGS_LIMIT} bytes, not {size}.", field)


def _send_at(at: object, field: str, now: float) -> Iterator[Fault]:
    yield from mistyped(at, int, field)
    if type(at) is int and at > now + MOST_AHEAD:
        yield Fault("Scheduling more than 72 hours in advance is forbidden.", field)
