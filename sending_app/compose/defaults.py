"""A message's attributes over the project's send defaults: one dict, each attribute under one name."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from django.core.mail import EmailMessage
from django.utils.functional import Promise

from sending_app.compose.plain import plain
from sending_app.exceptions import UnsupportedFeature

#: What is set, by the name of the attribute: plain values, but for attachments and times.
Attributes: TypeAlias = dict[str, Any]

_Merge: TypeAlias = Callable[[str, Any, Any], Any]

#: Anymail's documents have both spellings of the first two; the third is how Django's constructor says it.
ALIASES = {"open_tracking": "track_opens", "click_tracking": "track_clicks", "headers": "extra_headers"}

#: Taken as they are; whoever reads them checks them.
_NOT_PLAIN = {"alternatives", "attachments", "send_at"}


def combine(message: EmailMessage, defaults: Mapping[str, Any]) -> Attributes:
    """What is set for this message. None on it cancels the default; what is unset is not in the dict."""
    own = _under_one_name({name: getattr(message, name) for name in _NAMES if hasattr(message, name)})
    by_default = _under_one_name(defaults)
    found = {name: _combined(name, by_default, own) for name in _MERGES}
    return {name: value for name, value in found.items() if value is not None}


def merge_deep(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """`second` over `first`, dict in dict; all else of `second` stands in the place of what was there."""
    merged = {**first, **second}
    for name in first.keys() & second.keys():
        if isinstance(first[name], Mapping) and isinstance(second[name], Mapping):
            merged[name] = merge_deep(first[name], second[name])
    return merged


def _combined(name: str, defaults: Attributes, own: Attributes) -> Any:
    found = [source[name] for source in (defaults, own) if name in source]
    if not found or found[-1] is None:
        return None
    first, *second = [value for value in found if value is not None]
    merge = _MERGES[name]
    merged = merge(name, first, second[0]) if second else merge(name, None, first)
    return merged if name in _NOT_PLAIN else plain(merged, name)


def _under_one_name(source: Mapping[str, Any]) -> Attributes:
    found = {name: value for name, value in source.items() if name not in ALIASES}
    for alias, name in ALIASES.items():
        if alias not in source:
            continue
        if name in found and found[name] != source[alias]:
            raise UnsupportedFeature(
                f"{name} and {alias} are one option, and here they contradict each other"
            )
        found[name] = source[alias]
    return found


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


def _list(name: str, value: Any) -> Any:
    # Each letter of a string would be one item.
    if isinstance(value, str | Promise | Mapping) or not (value is None or isinstance(value, Iterable)):
        raise TypeError(f'"{name}" must be a list or tuple')
    return value or ()


def _dict(name: str, value: Any) -> Mapping[Any, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f'"{name}" must be a dict')
    return value or {}


_MERGES: dict[str, _Merge] = {
    **dict.fromkeys(("from_email", "subject", "body", "envelope_sender"), _last),
    **dict.fromkeys(("template_id", "send_at", "track_opens", "track_clicks", "bulk"), _last),
    **dict.fromkeys(("to", "cc", "bcc", "reply_to", "tags", "alternatives", "attachments"), _joined),
    **dict.fromkeys(("extra_headers", "metadata", "merge_global_data"), _shallow),
    **dict.fromkeys(("merge_data", "merge_metadata", "merge_headers"), _one_level),
    "esp_extra": _deep,
}

#: What send defaults may name.
KNOWN = frozenset({*_MERGES, *ALIASES})

#: `headers` is no attribute of a message.
_NAMES = [*_MERGES, *(ALIASES.keys() - {"headers"})]
