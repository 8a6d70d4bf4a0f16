"""What composing needs to know of the settings, and what fields of a request must be.

`esp_extra` can put anything anywhere. The fields that are named here must have their shape for a mail to be
read back from the outbox. SendGrid refuses them as well; it is the judge of all other fields.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from sending_app.exceptions import SerializationError, UnsupportedFeature

_Shape: TypeAlias = tuple[Callable[[Any], bool], str]

#: A year from the ends of what a datetime can say: it is reckoned with, and shown in any zone.
_EARLIEST, _LATEST = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (2, 9999))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    #: Makes a domain ASCII: see `addresses.encoder`.
    idna: Callable[[str], str]
    send_defaults: Mapping[str, Any] = field(default_factory=dict)
    merge_field_format: str | None = None
    generate_message_id: bool = True
    ignore_unsupported: bool = False

    def refuse(self, what: str) -> None:
        """Raise UnsupportedFeature; where such features are ignored, the caller goes on without this one."""
        if not self.ignore_unsupported:
            raise UnsupportedFeature(f"SendGrid does not support {what}")


def check_shapes(fields: Mapping[str, Any], where: str) -> None:
    """Raise SerializationError for a field that is not what stands there."""
    for name, (fits, words) in _SHAPES.items():
        if name in fields and not fits(fields[name]):
            raise SerializationError(f"{where}[{name!r}] must be {words}")


def is_time(seconds: float) -> bool:
    """Whether these seconds from 1970 are in years that can be written: milliseconds are not."""
    return _EARLIEST <= seconds < _LATEST


def are_addresses(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_address, value))


def _is_address(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("email"), str)
        and isinstance(value.get("name") or "", str)
    )


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and "\n" not in value and "\r" not in value


def _is_content(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(part, dict) and isinstance(part.get("type"), str) and isinstance(part.get("value"), str)
        for part in value
    )


def _is_seconds(value: Any) -> bool:
    return type(value) is int and is_time(value)


def _is_tracking(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(name, {}), dict) for name in ("click_tracking", "open_tracking")
    )


_DICT: _Shape = (_is_dict, "a dict")

_SHAPES: dict[str, _Shape] = {
    "from": (_is_address, '{"email": ..., "name": ...}'),
    "reply_to_list": (are_addresses, 'a list of {"email": ..., "name": ...}'),
    "subject": (_is_line, "text of one line"),
    "content": (_is_content, 'a list of {"type": ..., "value": ...}, both text'),
    "categories": (_is_list, "a list"),
    "send_at": (_is_seconds, "a whole number of seconds since 1970, before the year 9999"),
    "tracking_settings": (_is_tracking, "a dict of dicts"),
    **dict.fromkeys(("headers", "custom_args", "substitutions", "dynamic_template_data"), _DICT),
}
