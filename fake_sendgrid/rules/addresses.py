"""Rules for an address object: {"email": ..., "name": ...}."""

import re
from collections.abc import Iterator
from typing import Any

from fake_sendgrid.rules.fault import Fault, mistyped

_LOCAL = r"""("[^"\r\n]+"|[^\s<>()\[\],;:"@\\]+)"""
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_EMAIL = re.compile(rf"{_LOCAL}@({_LABEL}\.)+{_LABEL}")


def address(value: Any, field: str) -> Iterator[Fault]:
    """Yield the faults of one address."""
    if not isinstance(value, dict):
        yield from mistyped(value, dict, field)
        return
    email = value.get("email", "")
    yield from mistyped(email, str, f"{field}.email")
    if isinstance(email, str) and not _EMAIL.fullmatch(email):
        yield Fault("Does not contain a valid address.", f"{field}.email")
    if "name" in value:
        yield from mistyped(value["name"], str, f"{field}.name")


def sender(value: Any, field: str) -> Iterator[Fault]:
    """Yield the faults of a sender."""
    yield from address(value, field)
    # "Mail Send API Overview": the from address must be ASCII.
    if (email := email_of(value)) and not email.isascii():
        yield Fault("The from email must be ASCII.", f"{field}.email")


def email_of(value: Any) -> str:
    """Return the address of a {"email": …} object, or "" without a readable address."""
    email = value.get("email") if isinstance(value, dict) else None
    return email if isinstance(email, str) else ""


def emails_of(values: Any) -> list[str]:
    return [email for email in map(email_of, values) if email] if isinstance(values, list) else []
