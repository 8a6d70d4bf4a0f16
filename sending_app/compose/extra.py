"""Read `esp_extra`: fields for the request, and options for this package.

`esp_extra` can set every field. The outbox can only read a mail back if the fields listed here have their
shape. SendGrid refuses a wrong shape too, and decides about every other field.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from sending_app.compose.attributes import Rules
from sending_app.compose.body import is_time
from sending_app.compose.plain import control_characters
from sending_app.conf import MERGE_FIELD_FORMAT
from sending_app.exceptions import ConfigurationError, SerializationError, UnsupportedFeature

#: Octets of an address: 64 before the @ and 255 after it (RFC 5321, 4.5.3.1). Size of the outbox's column.
MAX_ADDRESS = 320

_Shape: TypeAlias = tuple[Callable[[Any], bool], str]


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
    if recipients := sorted(shared.keys() & {"to", "cc", "bcc"}):
        raise UnsupportedFeature(
            'esp_extra["personalizations"] as a dict is for all recipients and cannot have '
            f"{recipients[0]!r}: set it on the message, or write a list of personalizations"
        )
    check_shapes(shared, "esp_extra['personalizations']")
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


def _personalizations(written: Any) -> list[dict[str, Any]]:
    if not isinstance(written, list) or not written:
        raise SerializationError('esp_extra["personalizations"] must be a dict, or a list that is not empty')
    for number, personalization in enumerate(written):
        where = f'esp_extra["personalizations"][{number}]'
        if not isinstance(personalization, dict) or not personalization.get("to"):
            raise SerializationError(f'{where} must be a dict with "to"')
        for field in ("to", "cc", "bcc"):
            if not _are_addresses(personalization.get(field, [])):
                raise SerializationError(
                    f'{where}[{field!r}] must be a list of {{"email": ..., "name": ...}}'
                )
        check_shapes(personalization, f"esp_extra['personalizations'][{number}]")
    return written


def check_shapes(fields: Mapping[str, Any], where: str) -> None:
    """Raise SerializationError for a field of a wrong shape."""
    for name, (fits, words) in _SHAPES.items():
        if name in fields and not fits(fields[name]):
            raise SerializationError(f"{where}[{name!r}] must be {words}")


def _are_addresses(field: Any) -> bool:
    return isinstance(field, list) and all(map(_is_address, field))


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and not control_characters.search(value)


def _is_address(value: Any) -> bool:
    if not isinstance(value, dict) or not _is_line(value.get("email")):
        return False
    return 0 < len(value["email"]) <= MAX_ADDRESS and _is_line(value.get("name") or "")


def _is_content(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(content, dict)
        and isinstance(content.get("type"), str)
        and isinstance(content.get("value"), str)
        for content in value
    )


_DICT: _Shape = (lambda field: isinstance(field, dict), "a dict")

_SHAPES: dict[str, _Shape] = {
    "from": (_is_address, '{"email": ..., "name": ...}'),
    "reply_to_list": (_are_addresses, 'a list of {"email": ..., "name": ...}'),
    "subject": (_is_line, "text of one line, without control characters"),
    "headers": (
        lambda field: (
            isinstance(field, dict)
            and all(_is_line(content) for content in field.values() if isinstance(content, str))
        ),
        "a dict of texts of one line, without control characters",
    ),
    "content": (_is_content, 'a list of {"type": ..., "value": ...}, both text'),
    "categories": (lambda field: isinstance(field, list), "a list"),
    "template_id": (lambda field: isinstance(field, str), "text"),
    "send_at": (
        lambda field: type(field) is int and is_time(field),
        "a whole number of seconds since 1970, before the year 9999",
    ),
    "tracking_settings": (
        lambda field: (
            isinstance(field, dict)
            and all(isinstance(field.get(name, {}), dict) for name in ("click_tracking", "open_tracking"))
        ),
        "a dict of dicts",
    ),
    **dict.fromkeys(("custom_args", "substitutions", "dynamic_template_data"), _DICT),
}
