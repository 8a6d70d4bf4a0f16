"""Build personalizations: a single personalization, or in a batch one for each `to` recipient."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from events_app.shared.addresses import comparable
from sending_app.compose.addresses import Mailbox, parse_addresses
from sending_app.compose.attributes import Attributes, Rules
from sending_app.compose.body import checked_headers, custom_args
from sending_app.compose.plain import as_text
from sending_app.exceptions import MissingDelimiters, SerializationError, UnsupportedFeature
from sending_app.mail import Address, Personalization
from sending_app.message_ids import new_message_id

_ByAddress: TypeAlias = dict[str, dict[str, str]]

#: Each of these attributes makes a message a batch, even if set to {}.
BATCH_ATTRIBUTES = ("merge_data", "merge_metadata", "merge_headers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipients:
    """The addresses of a message, as the caller wrote them."""

    to: list[Mailbox]
    cc: list[Mailbox]
    bcc: list[Mailbox]


def read_recipients(attributes: Attributes, rules: Rules) -> Recipients:
    """Raises InvalidAddress, and UnsupportedFeature for a message without `to`."""
    to, cc, bcc = (
        parse_addresses(attributes.get(field, []), field, rules.idna) for field in ("to", "cc", "bcc")
    )
    if not to:
        raise UnsupportedFeature('SendGrid does not support a mail without "to": cc and bcc are not enough')
    return Recipients(to=to, cc=cc, bcc=bcc)


def for_all(recipients: Recipients) -> Personalization:
    """Build a personalization for all recipients together."""
    return Personalization(id=new_message_id(), **_without_duplicates(recipients.to, recipients))


def for_each(
    recipients: Recipients, attributes: Attributes, dynamic: bool, rules: Rules
) -> list[Personalization]:
    """Build a personalization for each `to` recipient. Every cc and bcc recipient gets every copy."""
    merge_data = finder(
        attributes.get("merge_data", {}) if dynamic else _each(attributes, "merge_data", substitutions),
        rules.idna,
    )
    metadata = finder(_each(attributes, "merge_metadata", partial(custom_args, rules=rules)), rules.idna)
    headers = finder(_each(attributes, "merge_headers", partial(checked_headers, rules=rules)), rules.idna)
    return [
        Personalization(
            id=new_message_id(),
            merge_data=merge_data(mailbox),
            metadata=metadata(mailbox),
            headers=headers(mailbox),
            **_without_duplicates([mailbox], recipients),
        )
        for mailbox in recipients.to
    ]


def from_dicts(written: Iterable[dict[str, Any]]) -> list[Personalization]:
    """Wrap the personalizations that the caller wrote in `esp_extra`."""
    return [
        Personalization(
            id=new_message_id(),
            to=_addresses(personalization["to"]),
            cc=_addresses(personalization.get("cc", [])),
            bcc=_addresses(personalization.get("bcc", [])),
            given=personalization,
        )
        for personalization in written
    ]


def _each(attributes: Attributes, name: str, read: Callable[[Any, str], dict[str, str]]) -> _ByAddress:
    return {
        address: read(fields, f"{name}[{address!r}]") for address, fields in attributes.get(name, {}).items()
    }


def _without_duplicates(to: list[Mailbox], recipients: Recipients) -> dict[str, Any]:
    """`to` with all of cc and bcc. SendGrid refuses duplicate addresses (Mail Send Errors)."""
    if len(to) == 1 and not recipients.cc and not recipients.bcc:
        return {"to": [to[0].address]}
    seen: set[str] = set()
    fields: dict[str, list[Address]] = {"to": [], "cc": [], "bcc": []}
    for field, mailboxes in (("to", to), ("cc", recipients.cc), ("bcc", recipients.bcc)):
        for mailbox in mailboxes:
            if (form := comparable(mailbox.wire)) not in seen:
                seen.add(form)
                fields[field].append(mailbox.address)
    return fields


def _addresses(written: Iterable[dict[str, Any]]) -> list[Address]:
    return [{name: address[name] for name in ("email", "name") if address.get(name)} for address in written]


def finder(
    by_address: Mapping[str, dict[str, Any]], encode: Callable[[str], str]
) -> Callable[[Mailbox], dict[str, Any]]:
    """Make a lookup by recipient: by the address as written, as sent, then by any spelling of the address."""
    if not by_address:
        return lambda _: {}
    by_form = {
        form: fields for address, fields in by_address.items() for form in address_forms(address, encode)
    }

    def find(mailbox: Mailbox) -> dict[str, Any]:
        for spellings, key in (
            (by_address, mailbox.given),
            (by_address, mailbox.wire),
            (by_form, comparable(mailbox.wire)),
        ):
            if (fields := spellings.get(key)) is not None:
                return fields
        return {}

    return find


def address_forms(address: str, encode: Callable[[str], str]) -> Iterator[str]:
    """The comparable form of an address, and the form of the address with its domain in ASCII."""
    form = comparable(address)
    yield form
    local, _, domain = form.rpartition("@")
    if not domain.isascii():
        with suppress(ValueError):
            yield comparable(f"{local}@{encode(domain)}")


def substitutions(merge_data: Mapping[str, Any], field: str) -> dict[str, str]:
    """Merge data for a legacy template. SendGrid takes only text for legacy templates; None is left out."""
    try:
        return {
            name: as_text(content, f"{field}[{name!r}]")
            for name, content in merge_data.items()
            if content is not None
        }
    except SerializationError as error:
        why = f"{error}. Only a dynamic template takes more"
    raise SerializationError(why)


def warn_of_bare_names(recipients: Iterable[Mapping[str, Any]], global_data: Mapping[str, Any]) -> None:
    """Warn if no merge field has delimiters. Call only without a field format, which adds delimiters."""
    all_names = set(global_data).union(*recipients)
    if any(names and all(name.isalnum() for name in names) for names in (all_names, set(global_data))):
        warnings.warn(
            "The merge fields have no delimiters, so SendGrid replaces a name wherever it occurs, "
            'in the middle of a word too. Set SENDGRID_MERGE_FIELD_FORMAT, for example to "-{}-".',
            MissingDelimiters,
            stacklevel=2,
        )
