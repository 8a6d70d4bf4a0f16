"""What is one recipient's alone: found by address, and in the form that the template takes."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sending_app.compose.address import Mailbox
from sending_app.compose.plain import SerializationError, text


class MissingDelimiters(UserWarning):
    """Merge fields would be replaced wherever their bare names stand in the text."""


AnymailWarning = MissingDelimiters


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
