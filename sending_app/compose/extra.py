"""Read `esp_extra`: fields for the request, and options for this package."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sending_app.compose.rules import Rules, are_addresses, check_shapes
from sending_app.conf import MERGE_FIELD_FORMAT
from sending_app.exceptions import ConfigurationError, SerializationError, UnsupportedFeature


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    #: Merged over the request's body.
    body: dict[str, Any]
    #: Merged into each personalization.
    shared: dict[str, Any]
    #: Replace the personalizations that would be made from the recipients.
    personalizations: list[dict[str, Any]] | None
    field_format: str | None
    #: None: the template's id decides.
    dynamic: bool | None


def read_extra(esp_extra: Mapping[str, Any], rules: Rules) -> Extra:
    """Raises ConfigurationError, SerializationError, UnsupportedFeature."""
    if "x-smtpapi" in esp_extra:
        raise ConfigurationError(
            'esp_extra["x-smtpapi"] belongs to an older API: '
            "use the fields of SendGrid's v3 Mail Send in esp_extra."
        )
    body = dict(esp_extra)
    written = body.pop("personalizations", None)
    shared = written if isinstance(written, dict) else {}
    _check_shared(shared)
    return Extra(
        field_format=_field_format(body.pop("merge_field_format", rules.merge_field_format)),
        dynamic=body.pop("use_dynamic_template", None),
        shared=shared,
        personalizations=None if written is None or written is shared else _personalizations(written),
        body=body,
    )


def _field_format(written: Any) -> str | None:
    try:
        return None if written is None else MERGE_FIELD_FORMAT.read(written)
    except ValueError as error:
        why = f'esp_extra["merge_field_format"] {error}'
    raise SerializationError(why)


def _check_shared(fields: dict[str, Any]) -> None:
    recipients = sorted(fields.keys() & {"to", "cc", "bcc"})
    if recipients:
        raise UnsupportedFeature(
            'esp_extra["personalizations"] as a dict is for all recipients and cannot have '
            f"{recipients[0]!r}: set it on the message, or write a list of personalizations"
        )
    check_shapes(fields, "esp_extra['personalizations']")


def _personalizations(written: Any) -> list[dict[str, Any]]:
    if not isinstance(written, list) or not written:
        raise SerializationError('esp_extra["personalizations"] must be a dict, or a list that is not empty')
    for number, personalization in enumerate(written):
        where = f'esp_extra["personalizations"][{number}]'
        if not isinstance(personalization, dict) or not personalization.get("to"):
            raise SerializationError(f'{where} must be a dict with "to"')
        for field in ("to", "cc", "bcc"):
            if not are_addresses(personalization.get(field, [])):
                raise SerializationError(
                    f'{where}[{field!r}] must be a list of {{"email": ..., "name": ...}}'
                )
        check_shapes(personalization, f"esp_extra['personalizations'][{number}]")
    return written
