"""A project's rules for composing, and a message's attributes merged over the project's send defaults."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from django.core.mail import EmailMessage
from django.utils.functional import Promise

from sending_app.compose.plain import plain
from sending_app.exceptions import UnsupportedFeature
from sending_app.mail import merge_deep

#: Set attributes by name, as plain values. Attachments and times are still as the caller wrote them.
Attributes: TypeAlias = dict[str, Any]

_Merge: TypeAlias = Callable[[str, Any, Any], Any]

#: Anymail's documents have both spellings of the first two. Django's constructor takes `headers`.
ALIASES = {"open_tracking": "track_opens", "click_tracking": "track_clicks", "headers": "extra_headers"}

#: Kept as the caller wrote them: the code that reads them also checks them.
_NOT_PLAIN = {"alternatives", "attachments", "send_at"}


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

    Aliases become one name. None cancels a default.
    """
    written = _under_one_name({name: getattr(message, name) for name in _NAMES if hasattr(message, name)})
    defaults = _under_one_name(defaults)
    attributes = {}
    for name, merge in _MERGES.items():
        set_values = [source[name] for source in (defaults, written) if name in source]
        if not set_values or set_values[-1] is None:
            continue
        first, *second = [setting for setting in set_values if setting is not None]
        merged = merge(name, first, second[0]) if second else merge(name, None, first)
        attributes[name] = merged if name in _NOT_PLAIN else plain(merged, name)
    return attributes


def _under_one_name(source: Mapping[str, Any]) -> Attributes:
    attributes = {name: setting for name, setting in source.items() if name not in ALIASES}
    for alias, name in ALIASES.items():
        if alias not in source:
            continue
        if name in attributes and attributes[name] != source[alias]:
            raise UnsupportedFeature(f"{name} and {alias} are one option, but their values differ")
        attributes[name] = source[alias]
    return attributes


def _last(_name: str, _first: Any, second: Any) -> Any:
    return second


def _joined(name: str, first: Any, second: Any) -> list[Any]:
    return [*_list(name, first), *_list(name, second)]


def _shallow(name: str, first: Any, second: Any) -> dict[Any, Any]:
    return {**_dict(name, first), **_dict(name, second)}


def _one_level(name: str, first: Any, second: Any) -> dict[Any, Any]:
    merged = dict(_dict(name, first))
    for key, inner in _dict(name, second).items():
        merged[key] = _shallow(f"{name}[{key!r}]", merged.get(key), inner)
    return merged


def _list(name: str, written: Any) -> Any:
    # A string would become a list of letters.
    if isinstance(written, str | Promise | Mapping) or not (written is None or isinstance(written, Iterable)):
        raise TypeError(f'"{name}" must be a list or tuple')
    return written or ()


def _dict(name: str, written: Any) -> Mapping[Any, Any]:
    if written is not None and not isinstance(written, Mapping):
        raise TypeError(f'"{name}" must be a dict')
    return written or {}


_MERGES: dict[str, _Merge] = {
    **dict.fromkeys(("from_email", "subject", "body", "envelope_sender"), _last),
    **dict.fromkeys(("template_id", "send_at", "track_opens", "track_clicks", "bulk"), _last),
    **dict.fromkeys(("to", "cc", "bcc", "reply_to", "tags", "alternatives", "attachments"), _joined),
    **dict.fromkeys(("extra_headers", "metadata", "merge_global_data"), _shallow),
    **dict.fromkeys(("merge_data", "merge_metadata", "merge_headers"), _one_level),
    "esp_extra": lambda name, first, second: merge_deep(_dict(name, first), _dict(name, second)),
}

#: Names that send defaults may have.
KNOWN = frozenset({*_MERGES, *ALIASES})

#: `headers` is no attribute of a message.
_NAMES = [*_MERGES, *(ALIASES.keys() - {"headers"})]
