"""`esp_extra`: what is the request's, and what is meant for us."""

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
    #: In the place of all that would be made.
    personalizations: list[dict[str, Any]] | None
    field_format: str | None
    #: None: the template's id tells.
    dynamic: bool | None


def read(esp_extra: Mapping[str, Any], rules: Rules) -> Extra:
    """Its parts; raises ConfigurationError, SerializationError, UnsupportedFeature."""
    if "x-smtpapi" in esp_extra:
        raise ConfigurationError(
            'esp_extra["x-smtpapi"] is of the API before this one: '
            "use the fields of SendGrid's v3 Mail Send in esp_extra."
        )
    body = dict(esp_extra)
    given = body.pop("personalizations", None)
    return Extra(
        field_format=_field_format(body.pop("merge_field_format", rules.merge_field_format)),
        dynamic=body.pop("use_dynamic_template", None),
        shared=_shared(given) if isinstance(given, dict) else {},
        personalizations=None if given is None or isinstance(given, dict) else _personalizations(given),
        body=body,
    )


def _field_format(value: Any) -> str | None:
    try:
        return None if value is None else MERGE_FIELD_FORMAT.read(value)
    except ValueError as error:
        why = f'esp_extra["merge_field_format"] {error}'
    raise SerializationError(why)


def _shared(given: dict[str, Any]) -> dict[str, Any]:
    named = sorted(given.keys() & {"to", "cc", "bcc"})
    if named:
        raise UnsupportedFeature(
            f'esp_extra["personalizations"] as a dict is for all recipients and cannot have {named[0]!r}: '
            "set it on the message, or make it a list of personalizations"
        )
    check_shapes(given, "esp_extra['personalizations']")
    return given


def _personalizations(given: Any) -> list[dict[str, Any]]:
    if not isinstance(given, list) or not given:
        raise SerializationError('esp_extra["personalizations"] must be a dict, or a list that is not empty')
    for number, one in enumerate(given):
        where = f'esp_extra["personalizations"][{number}]'
        if not isinstance(one, dict) or not one.get("to"):
            raise SerializationError(f'{where} must be a dict with "to"')
        for kind in ("to", "cc", "bcc"):
            if not are_addresses(one.get(kind, [])):
                raise SerializationError(f'{where}[{kind!r}] must be a list of {{"email": ..., "name": ...}}')
        check_shapes(one, f"esp_extra['personalizations'][{number}]")
    return given
