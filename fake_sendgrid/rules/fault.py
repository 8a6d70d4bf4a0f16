"""A fault of a mail, in SendGrid's words."""

from collections.abc import Iterator
from typing import NamedTuple

_NAMES = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


class Fault(NamedTuple):
    message: str
    #: A path such as "personalizations.0.to.0.email".
    field: str | None


#: For some faults SendGrid reports only this, and no other fault (sendgrid-nodejs issues 282 and 288).
BAD_REQUEST = Fault("Bad Request", None)


def mistyped(value: object, expected: type, field: str) -> Iterator[Fault]:
    """Yield a fault for a value of another type (seen in loopback-connector-sendgrid issue 13)."""
    if type(value) is not expected:
        given = _NAMES[type(value)]
        yield Fault(f"Invalid type. Expected: {_NAMES[expected]}, given: {given}.", field)


def text(value: object, field: str) -> Iterator[Fault]:
    """Yield a fault unless `value` is a string with at least one character."""
    yield from mistyped(value, str, field)
    if value == "":
        yield Fault(f"The {name(field)} must be a string at least one character in length.", field)


def one_line(value: object, field: str) -> Iterator[Fault]:
    """Yield the faults of a value that SendGrid writes into a MIME header."""
    yield from text(value, field)
    if isinstance(value, str) and any(character in value for character in ";\r\n"):
        yield Fault(f"The {name(field)} cannot contain ';', or CRLF characters.", field)


def name(field: str) -> str:
    """The name of a field in a message: "content value" for "content.0.value"."""
    return " ".join(word for word in field.split(".") if not word.isdecimal())
