"""Merge a message's attributes over the project's send defaults. Aliases become one name."""

from collections.abc import Callable, Iterable, Mapping
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


def combine(message: EmailMessage, defaults: Mapping[str, Any]) -> Attributes:
    """Attributes of a message over the defaults, without unset attributes. None cancels a default."""
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


def _deep(name: str, first: Any, second: Any) -> dict[str, Any]:
    return merge_deep(_dict(name, first), _dict(name, second))


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
    "esp_extra": _deep,
}

#: Names that send defaults may have.
KNOWN = frozenset({*_MERGES, *ALIASES})

#: `headers` is no attribute of a message.
_NAMES = [*_MERGES, *(ALIASES.keys() - {"headers"})]
