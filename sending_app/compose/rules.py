"""Settings for composing, and the required shapes of a request's fields.

`esp_extra` can set every field. The outbox can only read a mail back if the fields below have their shape.
SendGrid refuses a wrong shape too, and decides about every field not listed here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from sending_app.exceptions import SerializationError, UnsupportedFeature

_Shape: TypeAlias = tuple[Callable[[Any], bool], str]

#: A year inside datetime's range, so that arithmetic and any time zone stay in range.
_EARLIEST, _LATEST = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (2, 9999))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    #: Makes a domain ASCII: see `addresses.encoder`.
    idna: Callable[[str], str]
    send_defaults: Mapping[str, Any] = field(default_factory=dict)
    merge_field_format: str | None = None
    generate_message_id: bool = True
    ignore_unsupported: bool = False

    def refuse(self, feature: str) -> None:
        """Raise UnsupportedFeature, or return if IGNORE_UNSUPPORTED_FEATURES is on."""
        if not self.ignore_unsupported:
            raise UnsupportedFeature(f"SendGrid does not support {feature}")


def check_shapes(fields: Mapping[str, Any], where: str) -> None:
    """Raise SerializationError for a field of a wrong shape."""
    for name, (fits, words) in _SHAPES.items():
        if name in fields and not fits(fields[name]):
            raise SerializationError(f"{where}[{name!r}] must be {words}")


def is_time(seconds: float) -> bool:
    """Whether the seconds since 1970 are in the years 2 to 9998: milliseconds are not."""
    return _EARLIEST <= seconds < _LATEST


def are_addresses(field: Any) -> bool:
    return isinstance(field, list) and all(map(_is_address, field))


def _is_address(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("email"), str)
        and isinstance(value.get("name") or "", str)
    )


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and "\n" not in value and "\r" not in value


def _is_content(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(content, dict)
        and isinstance(content.get("type"), str)
        and isinstance(content.get("value"), str)
        for content in value
    )


def _is_tracking(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(name, {}), dict) for name in ("click_tracking", "open_tracking")
    )


_DICT: _Shape = (lambda field: isinstance(field, dict), "a dict")

_SHAPES: dict[str, _Shape] = {
    "from": (_is_address, '{"email": ..., "name": ...}'),
    "reply_to_list": (are_addresses, 'a list of {"email": ..., "name": ...}'),
    "subject": (_is_line, "text of one line"),
    "content": (_is_content, 'a list of {"type": ..., "value": ...}, both text'),
    "categories": (lambda field: isinstance(field, list), "a list"),
    "send_at": (
        lambda field: type(field) is int and is_time(field),
        "a whole number of seconds since 1970, before the year 9999",
    ),
    "tracking_settings": (_is_tracking, "a dict of dicts"),
    **dict.fromkeys(("headers", "custom_args", "substitutions", "dynamic_template_data"), _DICT),
}
