"""The addresses that answers go to. One may bear the id of the mail, so that an answer to it names it."""

from collections.abc import Iterable

from sending_app.mail import Address

#: Where the id goes in an address.
MARKER = "{message_id}"

#: Octets before an address's @ (RFC 5321).
LONGEST_LOCAL = 64


def filled(addresses: Iterable[Address], message_id: str) -> list[Address]:
    """The addresses with the id where it goes: without hyphens, for the room is small."""
    short = message_id.replace("-", "")
    return [{**one, "email": one["email"].replace(MARKER, short)} for one in addresses]
