"""Copy a caller's values as plain JSON values. Lazy text becomes text."""

import math
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from django.utils.functional import Promise

from sending_app.exceptions import SerializationError

#: A nested path: the path of the container, and the key. The outermost path is a field's name.
_Path: TypeAlias = tuple[Any, ...]

#: Python reads and writes whole numbers of up to so many digits, whatever limit is configured.
MAX_DIGITS = 640
_LARGE = 10**MAX_DIGITS

#: Lists and dicts in each other. The depth at which reading, merging or writing raises RecursionError differs
#: between Python versions and processes.
MAX_DEPTH = 100

#: Control characters that no header may have: all but the tab (RFC 5322, 2.2), and Unicode's line ends. Part
#: of a character class.
CONTROL = r"\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029"
control_characters = re.compile(f"[{CONTROL}]")


def plain(written: Any, field: str) -> Any:
    """Copy `written` as a value that JSON keeps unchanged. Raises SerializationError."""
    return _plain(written, (field,), 0)


def as_text(written: Any, where: str) -> str:
    """A plain value as text, where SendGrid requires text. Raises SerializationError."""
    # For any other type SendGrid only answers "Bad Request", without a reason (django-anymail issue 422).
    if isinstance(written, str):
        return written
    if isinstance(written, int | float):
        return str(written)
    wrong_type = "None" if written is None else f"a {type(written).__name__}"
    raise SerializationError(f"{where} is {wrong_type}; SendGrid takes text there, or a number")


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can encode the text: half of a surrogate pair cannot be encoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(written: Any, path: _Path, depth: int) -> Any:
    # The common types of large merge data come first.
    exact_type = type(written)
    if written is None or exact_type is bool or (exact_type is str and written.isascii()):
        return written
    if exact_type is int and -_LARGE < written < _LARGE:
        return written
    if depth > MAX_DEPTH:
        while len(path) > 1:
            path = path[0]
        raise SerializationError(f"{path[0]} holds itself, or is nested deeper than {MAX_DEPTH} levels")
    if exact_type is dict or isinstance(written, Mapping):
        return {
            key if type(key) is str and key.isascii() else _key(key, path): _plain(
                inner, (path, key), depth + 1
            )
            for key, inner in written.items()
        }
    if isinstance(written, list | tuple):
        return [_plain(inner, (path, index), depth + 1) for index, inner in enumerate(written)]
    if isinstance(written, str | Promise):
        return _text(written, path)
    if isinstance(written, int | float):
        return _number(written, path)
    raise SerializationError(
        f"{_words(path)} is a {type(written).__name__}, which JSON cannot express; make it text or a number"
    )


def _text(written: str | Promise, path: _Path) -> str:
    text = str.__str__(written) if isinstance(written, str) else str(written)
    if not text.isascii() and not is_unicode(text):
        raise SerializationError(f"{_words(path)} holds half of a surrogate pair, which is no text")
    return text


def _number(number: float, path: _Path) -> float:
    if isinstance(number, int):
        if not -_LARGE < number < _LARGE:
            raise SerializationError(f"{_words(path)} has more than {MAX_DIGITS} digits")
        return int(number)  # of a subclass such as an enum, which JSON writes in another way
    if not math.isfinite(number):
        raise SerializationError(f"{_words(path)} is {float(number)}, which JSON cannot express")
    return float(number)


def _key(key: Any, path: _Path) -> str:
    if isinstance(key, bool) or not isinstance(key, str | int | Promise):
        raise SerializationError(f"{_words(path)} has a key that is a {type(key).__name__}, not text")
    if isinstance(key, int):
        if not -_LARGE < key < _LARGE:
            raise SerializationError(f"{_words(path)} has a key with more than {MAX_DIGITS} digits")
        return int.__repr__(key)
    return _text(key, path)


def _words(path: _Path) -> str:
    if len(path) == 1:
        return str(path[0])
    outer, key = path
    return f"{_words(outer)}[{(str(key) if isinstance(key, Promise) else key)!r}]"
