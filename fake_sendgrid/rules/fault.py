"""What is wrong with a mail, as SendGrid says it."""

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
    #: As in "personalizations.0.to.0.email".
    field: str | None


#: All SendGrid says of some faults, and then of no other (sendgrid-nodejs issues 282 and 288).
BAD_REQUEST = Fault("Bad Request", None)


def mistyped(value: object, expected: type, field: str) -> Iterator[Fault]:
    """The fault, if `value` is not what is `expected` (SEEN in loopback-connector-sendgrid issue 13)."""
    if type(value) is not expected:
        given = _NAMES[type(value)]
        yield Fault(f"Invalid type. Expected: {_NAMES[expected]}, given: {given}.", field)


def text(value: object, field: str) -> Iterator[Fault]:
    """The faults of what must be a string of at least one character."""
    yield from mistyped(value, str, field)
    if value == "":
        yield Fault(f"The {name(field)} must be a string at least one character in length.", field)


def one_line(value: object, field: str) -> Iterator[Fault]:
    """The faults of what goes into a header of a MIME part, beside parameters of its own."""
    yield from text(value, field)
    if isinstance(value, str) and any(sign in value for sign in ";\r\n"):
        yield Fault(f"The {name(field)} cannot contain ';', or CRLF characters.", field)


def name(field: str) -> str:
    """What a sentence calls it: "content value" of "content.0.value"."""
    return " ".join(word for word in field.split(".") if not word.isdecimal())
