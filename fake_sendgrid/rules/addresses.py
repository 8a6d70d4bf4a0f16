"""Rules for an address object: {"email": ..., "name": ...}."""

import re
import string
from collections.abc import Iterator
from typing import Any

from fake_sendgrid.rules.fault import Fault, mistyped

# Nothing but the error's text tells what a valid address is, so this is the lenient reading: a local part and
# a domain, without a display name and spaces (refused today, taken in 2016: sendgrid-csharp issue 255).
_LOCAL = r"""("[^"\r\n]+"|[^\s<>()\[\],;:"@\\]+)"""
_LABEL = r"""[^\s<>()\[\],;:"@\\.]+"""
_EMAIL = re.compile(rf"{_LOCAL}@({_LABEL}(\.{_LABEL})*|\[[^\s\[\]]+\])")
_SENDER = re.compile(r"[^\r\n]+@[^\r\n]+")

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def address(value: Any, field: str) -> Iterator[Fault]:
    """Yield the faults of one address."""
    yield from _faults(value, field, _EMAIL)


def sender(value: Any, field: str) -> Iterator[Fault]:
    """Yield the faults of a sender. Almost any text with an @ will do (django-anymail, "Limitations")."""
    yield from _faults(value, field, _SENDER)
    # "Mail Send API Overview", sendgrid-csharp issue 117: the from address must be ASCII.
    if (email := email_of(value)) and not email.isascii():
        yield Fault("The from email must be ASCII.", f"{field}.email")


def _faults(value: Any, field: str, valid: re.Pattern[str]) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield from mistyped(value, dict, field)
        return
    email = value.get("email", "")
    yield from mistyped(email, str, f"{field}.email")
    if isinstance(email, str) and not valid.fullmatch(email):
        yield Fault("Does not contain a valid address.", f"{field}.email")
    if "name" in value:
        yield from mistyped(value["name"], str, f"{field}.name")


def is_sent_to(email: str) -> bool:
    """Whether SendGrid sends to a valid address. SendGrid takes a mail to the others, and drops the mail."""
    local, _, domain = email.rpartition("@")
    # Dots at an end or in a row need quotes; IP addresses get no mail (SendGrid's Japanese support article
    # 360000019762). An address that is not ASCII was dropped as "Invalid" (sendgrid-csharp issue 656).
    return (
        email.isascii()
        and not domain.startswith("[")
        and (local.startswith('"') or "" not in local.split("."))
    )


def folded(email: str) -> str:
    """The address without the letter case that SendGrid ignores (sendgrid-ruby issues 436 and 461).

    The issues are about ASCII letters alone, so other letters keep their case.
    """
    return email.translate(_LOWER)


def email_of(value: Any) -> str:
    """Return the address of a {"email": …} object, or "" without a readable address."""
    email = value.get("email") if isinstance(value, dict) else None
    return email if isinstance(email, str) else ""


def emails_of(values: Any) -> list[str]:
    return [email for email in map(email_of, values) if email] if isinstance(values, list) else []
