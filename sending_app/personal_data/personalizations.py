"""Take a person out of the personalizations of a mail."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from events_app.shared.addresses import comparable
from events_app.shared.personal_data.person import Person
from sending_app.mail import Address, Personalization


class Stripped(NamedTuple):
    """The personalizations of a mail without the person."""

    #: As JSON. Personalizations without a trace of the person are unchanged, byte by byte.
    content: bytes
    #: The ids of the personalizations that were removed.
    removed: list[str]
    #: The number of recipients that are left.
    recipients: int


def strip(person: Person, content: bytes, ids: Collection[str]) -> Stripped:
    """Take the person out of these personalizations. `ids` name those to the person.

    A personalization whose only `to` recipient is the person is removed, with the copies to cc and bcc:
    SendGrid sends no mail without `to`. Raises msgspec.MsgspecError.
    """
    pieces: list[bytes] = []
    removed: list[str] = []
    recipients = 0
    for raw in msgspec.json.decode(content, type=list[msgspec.Raw]):
        piece = bytes(raw)
        personalization = msgspec.json.decode(piece, type=Personalization)
        if personalization.id in ids or person.is_in(piece):
            personalization = _without_recipient(personalization, person)
            if not personalization.to:
                removed.append(personalization.id)
                continue
            piece = person.redact(msgspec.json.encode(personalization))
        pieces.append(piece)
        recipients += len(personalization.recipients)
    return Stripped(b"[%s]" % b",".join(pieces), removed, recipients)


def _without_recipient(personalization: Personalization, person: Person) -> Personalization:
    fields = ("to", "cc", "bcc")
    without: dict[str, Any] = {field: _without(getattr(personalization, field), person) for field in fields}
    if personalization.given is not None:
        given = {
            name: _without(content, person) if name in fields else content
            for name, content in personalization.given.items()
        }
        # SendGrid refuses empty lists.
        without["given"] = {name: content for name, content in given.items() if content or name not in fields}
    return replace(personalization, **without)


def _without(addresses: list[Address], person: Person) -> list[Address]:
    return [
        address
        for address in addresses
        if comparable(address["email"].replace("\0", "")) not in person.addresses
    ]
