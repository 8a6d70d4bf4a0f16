"""A message's headers as SendGrid takes them: some it sets itself, and of each it takes one."""

import re
from collections.abc import Mapping
from typing import Any

from sending_app.compose.plain import text
from sending_app.compose.rules import Rules

#: Refused in `headers` (Mail Send Errors).
RESERVED = frozenset(
    {"x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"}
    | {"to", "from", "subject", "reply-to", "cc", "bcc"}
)

_name = re.compile(r"[!-9;-~]+")


def by_lower_name(headers: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """Each header once, whatever its case: the last one stands."""
    return {name.lower(): (name, value) for name, value in headers.items()}


def checked(headers: Mapping[str, Any], field: str, rules: Rules) -> dict[str, str]:
    """The headers as text, without those SendGrid refuses; raises UnsupportedFeature, SerializationError."""
    found = {}
    for lower, (name, value) in by_lower_name(headers).items():
        written = text(value, f"{field}[{name!r}]")
        if why := _fault(lower, written):
            rules.refuse(f"{field}[{name!r}]: {why}")
        else:
            found[name] = written
    return found


def _fault(name: str, value: str) -> str:
    if name in RESERVED:
        return "it sets this header itself"
    if not _name.fullmatch(name):
        return "a header's name is ASCII without spaces and colons"
    return "a header has one line" if "\n" in value or "\r" in value else ""
