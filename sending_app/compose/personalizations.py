"""Who gets the mail, and in how many personalizations: one for all, or in a batch one for each of `to`."""

import uuid
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from sending_app.compose.addresses import Mailbox, parse
from sending_app.compose.body import checked_headers, custom_args
from sending_app.compose.defaults import Attributes
from sending_app.compose.plain import text
from sending_app.compose.rules import Rules
from sending_app.exceptions import MissingDelimiters, SerializationError, UnsupportedFeature
from sending_app.mail import Address, Personalization

_ByAddress: TypeAlias = dict[str, dict[str, str]]

#: Setting one of these, be it to {}, makes a message a batch.
BATCH_ATTRIBUTES = ("merge_data", "merge_metadata", "merge_headers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipients:
    """The addresses of a message, as its sender wrote them."""

    to: list[Mailbox]
    cc: list[Mailbox]
    bcc: list[Mailbox]


def read(attributes: Attributes, rules: Rules) -> Recipients:
    """Raises InvalidAddress, and UnsupportedFeature where there is no `to`."""
    to, cc, bcc = (parse(attributes.get(kind, []), kind, rules.idna) for kind in ("to", "cc", "bcc"))
    if not to:
        raise UnsupportedFeature('SendGrid does not support a mail without "to": cc and bcc are not enough')
    return Recipients(to=to, cc=cc, bcc=bcc)


def is_batch(attributes: Attributes) -> bool:
    return any(name in attributes for name in BATCH_ATTRIBUTES)


def for_all(recipients: Recipients) -> Personalization:
    """The one personalization of a mail whose recipients see each other."""
    return Personalization(id=_id(), **_once(recipients.to, recipients))


def for_each(
    recipients: Recipients, attributes: Attributes, dynamic: bool, rules: Rules
) -> list[Personalization]:
    """A personalization for each of `to`, with what is theirs alone; cc and bcc get a copy of each."""
    data = finder(
        attributes.get("merge_data", {}) if dynamic else _each(attributes, "merge_data", substitutions)
    )
    metadata = finder(_each(attributes, "merge_metadata", partial(custom_args, rules=rules)))
    extra_headers = finder(_each(attributes, "merge_headers", partial(checked_headers, rules=rules)))
    return [
        Personalization(
            id=_id(),
            merge_data=data(mailbox),
            metadata=metadata(mailbox),
            headers=extra_headers(mailbox),
            **_once([mailbox], recipients),
        )
        for mailbox in recipients.to
    ]


def given(personalizations: Iterable[dict[str, Any]]) -> list[Personalization]:
    """Those the caller wrote."""
    return [
        Personalization(
            id=_id(),
            to=_addresses(one["to"]),
            cc=_addresses(one.get("cc", [])),
            bcc=_addresses(one.get("bcc", [])),
            given=one,
        )
        for one in personalizations
    ]


def _id() -> str:
    return str(uuid.uuid4())


def _each(attributes: Attributes, name: str, read: Callable[[Any, str], dict[str, str]]) -> _ByAddress:
    return {address: read(own, f"{name}[{address!r}]") for address, own in attributes.get(name, {}).items()}


def _once(to: list[Mailbox], recipients: Recipients) -> dict[str, Any]:
    """`to` with all of cc and bcc, no address twice: SendGrid would refuse that (Mail Send Errors)."""
    if len(to) == 1 and not recipients.cc and not recipients.bcc:
        return {"to": [to[0].address]}
    seen: set[str] = set()
    found: dict[str, list[Address]] = {"to": [], "cc": [], "bcc": []}
    for kind, mailboxes in (("to", to), ("cc", recipients.cc), ("bcc", recipients.bcc)):
        for mailbox in mailboxes:
            if (folded := mailbox.wire.casefold()) not in seen:
                seen.add(folded)
                found[kind].append(mailbox.address)
    return found


def _addresses(written: Iterable[dict[str, Any]]) -> list[Address]:
    return [{name: one[name] for name in ("email", "name") if one.get(name)} for one in written]


def finder(data: Mapping[str, dict[str, Any]]) -> Callable[[Mailbox], dict[str, Any]]:
    """What looks a recipient's part of `data` up: by their address as given, as sent, then without case."""
    if not data:
        return _nothing
    folded = {address.casefold(): found for address, found in data.items()}

    def find(mailbox: Mailbox) -> dict[str, Any]:
        found = data.get(mailbox.given)
        if found is None:
            found = data.get(mailbox.wire)
        if found is None:
            found = folded.get(mailbox.given.casefold())
        return folded.get(mailbox.wire.casefold(), {}) if found is None else found

    return find


def substitutions(data: Mapping[str, Any], field: str) -> dict[str, str]:
    """Merge data for a template that is not dynamic. SendGrid takes text alone there: None is left out."""
    return {name: _substitution(value, field, name) for name, value in data.items() if value is not None}


def warn_of_bare_names(recipients: Iterable[Mapping[str, Any]], global_data: Mapping[str, Any]) -> None:
    """Warn where no field has delimiters, though no format says what to put round them."""
    names = set(global_data).union(*recipients)
    if any(found and all(name.isalnum() for name in found) for found in (names, set(global_data))):
        warnings.warn(
            "The merge fields have no delimiters, so SendGrid puts a value wherever it finds the name, "
            'in the middle of a word too. Set SENDGRID_MERGE_FIELD_FORMAT, for example to "-{}-".',
            MissingDelimiters,
            stacklevel=2,
        )


def _nothing(_: Mailbox) -> dict[str, Any]:
    return {}


def _substitution(value: Any, field: str, name: str) -> str:
    try:
        return text(value, f"{field}[{name!r}]")
    except SerializationError as error:
        why = f"{error}. Only a dynamic template takes more"
    raise SerializationError(why)
