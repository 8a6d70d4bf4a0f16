"""Leave recipients out of a mail."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from events_app.shared.addresses import comparable
from sending_app.mail import Address, Personalization

#: The reject reason of a cc or bcc recipient whose personalization has no `to` recipient left.
WITHOUT_TO = "other"


class LeftOut(NamedTuple):
    """A recipient of a personalization who is left out."""

    personalization: Personalization
    #: As sent.
    email: str
    #: A reject reason of Anymail's.
    reason: str

    @property
    def address(self) -> str:
        """The address as the row of the recipient has it."""
        return row_address(self.email)


@dataclass(frozen=True)
class Screened:
    """Personalizations without the recipients who are left out."""

    #: Each has a `to` recipient.
    kept: list[Personalization] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def row_address(email: str) -> str:
    """An address as the rows of recipients and suppressions have it."""
    return comparable(email.replace("\0", ""))[:320]


def addresses_of(personalizations: Iterable[Personalization]) -> set[str]:
    """The addresses of all recipients."""
    return {
        row_address(recipient["email"])
        for personalization in personalizations
        for recipient in personalization.recipients
    }


def screen(personalizations: Sequence[Personalization], reasons: Mapping[str, str]) -> Screened:
    """Leave out the recipients with a reason. `reasons` has reject reasons by `row_address`.

    SendGrid takes no personalization without `to` (Mail Send API). So if no `to` recipient is left, the cc
    and bcc recipients get no copy: their reason is WITHOUT_TO.
    """
    if not reasons:
        return Screened(list(personalizations))
    screened = Screened()
    for personalization in personalizations:
        left_out = [
            LeftOut(personalization, recipient["email"], reasons[address])
            for recipient in personalization.recipients
            if (address := row_address(recipient["email"])) in reasons
        ]
        remaining = _without(personalization, reasons) if left_out else personalization
        if remaining.to:
            screened.kept.append(remaining)
        else:
            left_out += [
                LeftOut(personalization, recipient["email"], WITHOUT_TO) for recipient in remaining.recipients
            ]
        screened.left_out.extend(left_out)
    return screened


def _without(personalization: Personalization, reasons: Mapping[str, str]) -> Personalization:
    def left(addresses: Iterable[Address]) -> list[Address]:
        return [address for address in addresses if row_address(address["email"]) not in reasons]

    kept: dict[str, Any] = {name: left(getattr(personalization, name)) for name in ("to", "cc", "bcc")}
    given = personalization.given
    if given is not None:
        # SendGrid refuses an empty list of addresses (Mail Send Errors).
        given = {
            name: content
            for name, written in given.items()
            if (content := left(written) if name in kept else written) or name not in kept
        }
    return replace(personalization, **kept, given=given)
