"""A project's rules for composing, and a message's attributes merged over the project's send defaults."""

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from django.core.mail import EmailMessage
from django.utils.functional import Promise

from sending_app.compose.plain import plain
from sending_app.exceptions import SerializationError, UnsupportedFeature
from sending_app.mail import merge_deep

#: Set attributes by name, as plain values. Attachments and times are still as the caller wrote them.
Attributes: TypeAlias = dict[str, Any]

_Shape: TypeAlias = Callable[[Any, str], Any]
_Merge: TypeAlias = Callable[[Any, Any], Any]

#: Anymail's documents have both spellings of the first two. Django's constructor takes `headers`.
ALIASES = {"open_tracking": "track_opens", "click_tracking": "track_clicks", "headers": "extra_headers"}


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


def combine(message: EmailMessage, defaults: Mapping[str, Any]) -> Attributes:
    """Merge a message's attributes over the defaults. Unset attributes are left out.

    Aliases become one name. None cancels a default. Raises SerializationError for a value of another shape,
    and UnsupportedFeature for aliases that differ.
    """
    written = _under_one_name({name: getattr(message, name) for name in _NAMES if hasattr(message, name)})
    defaults = _under_one_name(defaults)
    attributes = {}
    for name, (shape, merge) in _ATTRIBUTES.items():
        set_values = [source[name] for source in (defaults, written) if name in source]
        if not set_values or set_values[-1] is None:
            continue
        first, *second = [shape(setting, name) for setting in set_values if setting is not None]
        attributes[name] = merge(first, second[0]) if second else first
    return attributes


def _under_one_name(source: Mapping[str, Any]) -> Attributes:
    attributes = {name: setting for name, setting in source.items() if name not in ALIASES}
    for alias, name in ALIASES.items():
        if alias not in source:
            continue
        if name in attributes and plain(attributes[name], name) != plain(source[alias], alias):
            raise UnsupportedFeature(f"{name} and {alias} are one option, but their values differ")
        attributes[name] = source[alias]
    return attributes


def _list(written: Any, name: str) -> list[Any]:
    # A string would become a list of letters, and bytes a list of numbers.
    if isinstance(written, str | bytes | bytearray | memoryview | Promise | Mapping) or not isinstance(
        written, Iterable
    ):
        raise SerializationError(f'"{name}" must be a list or tuple')
    return list(written)


def _dict(written: Any, name: str) -> Any:
    if not isinstance(written, Mapping):
        raise SerializationError(f'"{name}" must be a dict')
    return plain(written, name)


def _dict_of_dicts(written: Any, name: str) -> Any:
    outer = _dict(written, name)
    for key, inner in outer.items():
        if not isinstance(inner, dict | None):
            raise SerializationError(f'"{name}[{key!r}]" must be a dict')
        outer[key] = inner or {}
    return outer


def _last(_first: Any, second: Any) -> Any:
    return second


def _one_level(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    return {**first, **{key: {**first.get(key, {}), **inner} for key, inner in second.items()}}


#: How to read each attribute, and how to merge two.
_ATTRIBUTES: dict[str, tuple[_Shape, _Merge]] = {
    **dict.fromkeys(("from_email", "subject", "body", "envelope_sender"), (plain, _last)),
    **dict.fromkeys(("template_id", "track_opens", "track_clicks", "bulk"), (plain, _last)),
    "unsubscribe_scope": (plain, _last),
    # Read, and checked, where they are used.
    "send_at": (lambda written, _name: written, _last),
    **dict.fromkeys(("alternatives", "attachments"), (_list, operator.add)),
    **dict.fromkeys(
        ("to", "cc", "bcc", "reply_to", "tags"),
        (lambda written, name: plain(_list(written, name), name), operator.add),
    ),
    **dict.fromkeys(("extra_headers", "metadata", "merge_global_data"), (_dict, operator.or_)),
    **dict.fromkeys(("merge_data", "merge_metadata", "merge_headers"), (_dict_of_dicts, _one_level)),
    "esp_extra": (_dict, merge_deep),
}

#: Names that send defaults may have.
KNOWN = frozenset({*_ATTRIBUTES, *ALIASES})

#: `headers` is no attribute of a message.
_NAMES = [*_ATTRIBUTES, *(ALIASES.keys() - {"headers"})]
