"""What a caller wrote as plain values: lazy text forced, everything copied, nothing JSON cannot say."""

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from django.utils.functional import Promise

from sending_app.exceptions import SerializationError

#: Where a value stands: the path of what holds it, and its own key. The first one is a field's name.
_Path: TypeAlias = tuple[Any, ...]

#: Python writes numbers of at least so many digits whatever it is set to.
_LARGE = 10**640


def plain(value: Any, field: str) -> Any:
    """A copy of `value` that is the same after a way through JSON; raises SerializationError."""
    try:
        return _plain(value, (field,))
    except RecursionError:
        why = f"{field} holds itself, or is nested too deep"
    raise SerializationError(why)


def text(value: Any, where: str) -> str:
    """A plain value as the string SendGrid requires; raises SerializationError."""
    # For anything else its answer is "Bad Request", without a word of why (django-anymail issue 422).
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return str(value)
    kind = "None" if value is None else f"a {type(value).__name__}"
    raise SerializationError(f"{where} is {kind}; SendGrid takes text there, or a number")


def is_unicode(value: str) -> bool:
    """Whether UTF-8 can say it: half of a surrogate pair it cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: Any, path: _Path) -> Any:
    # Merge data for thousands is made of little else, so these are asked for first.
    kind = type(value)
    if value is None or kind is bool or (kind is str and value.isascii()):
        return value
    if kind is int and -_LARGE < value < _LARGE:
        return value
    if kind is dict:
        return _dict(value, path)
    if isinstance(value, list | tuple):
        return [_plain(item, (path, number)) for number, item in enumerate(value)]
    return _dict(value, path) if isinstance(value, Mapping) else _scalar(value, path)


def _scalar(value: Any, path: _Path) -> Any:
    if isinstance(value, str | Promise):
        return _text(str.__str__(value) if isinstance(value, str) else str(value), path)
    if isinstance(value, int | float):
        return _number(value, path)
    raise SerializationError(
        f"{_words(path)} is a {type(value).__name__}, which JSON has no word for; make it text or a number"
    )


def _dict(value: Mapping[Any, Any], path: _Path) -> dict[str, Any]:
    return {
        key if type(key) is str and key.isascii() else _key(key, path): _plain(item, (path, key))
        for key, item in value.items()
    }


def _text(value: str, path: _Path) -> str:
    if not value.isascii() and not is_unicode(value):
        raise SerializationError(f"{_words(path)} holds half of a surrogate pair, which is no text")
    return value


def _number(value: float, path: _Path) -> float:
    if isinstance(value, int):
        if not _is_written(value):
            raise SerializationError(f"{_words(path)} has more digits than Python writes")
        return int(value)
    if not math.isfinite(value):
        raise SerializationError(f"{_words(path)} is {float(value)}, which JSON has no word for")
    return float(value)


def _is_written(value: int) -> bool:
    try:
        int.__repr__(value)
    except ValueError:
        return False
    return True


def _key(key: Any, path: _Path) -> str:
    if isinstance(key, bool) or not isinstance(key, str | int | Promise):
        raise SerializationError(f"{_words(path)} has a key that is a {type(key).__name__}, not text")
    if isinstance(key, int) and not _is_written(key):
        raise SerializationError(f"{_words(path)} has a key with more digits than Python writes")
    return _text(str.__str__(key) if isinstance(key, str) else str(key), path)


def _words(path: _Path) -> str:
    if len(path) == 1:
        return str(path[0])
    outer, key = path
    return f"{_words(outer)}[{(str(key) if isinstance(key, Promise) else key)!r}]"
