"""Environment variables as the values of settings, and their faults in words.

django-environ alone reads "yess" as False, "30s" as 30.0 and a password that begins with "$" as the name of
another variable, and its errors are tracebacks.
"""

import math
import os
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from events_app.shared.setting import flag

_REQUIRED = environ.Env.NOTSET


class InvalidEnvironment(ImproperlyConfigured, SystemExit):
    """A variable is missing or unusable. The text names the variable and what to do, and no secret.

    As a SystemExit it ends a program with its text and without a traceback.
    """

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.code = f"{fault} docs/settings.md describes the variables."


class Environment(environ.Env):  # type: ignore[misc]
    """Reads the variable `NAME`, or the file whose path `NAME_FILE` has, without the file's last line end.

    `env.str`, `env.bool`, `env.int`, `env.float`, `env.list`, `env.one_of`, `env.collector` and `env.db`
    raise InvalidEnvironment.
    """

    def get_value(
        self, var: str, cast: type | None = None, default: Any = _REQUIRED, parse_default: bool = False
    ) -> Any:
        text, is_in_file = _text_of(var)
        if text is None and default is not _REQUIRED:
            return default
        if text is None:
            raise InvalidEnvironment(f"{var} is not set. Set {var}, or {var}_FILE to the path of a file.")
        read, expected = _READERS[cast or str]
        if not text and default is _REQUIRED:
            raise InvalidEnvironment(f"{var} is empty. Fill it in.")
        if not text and (default or cast not in (str, list)):
            raise InvalidEnvironment(f"{var} is empty. It takes {expected}. For the default, remove it.")
        try:
            return read(text)
        except ValueError:
            shown = "has another value" if is_in_file else f"is {text[:50]!r}"
        raise InvalidEnvironment(f"{var} {shown}. It takes {expected}.")

    def one_of(self, var: str, *words: str, default: str) -> str:
        text: str = self.get_value(var, str, default)
        if text not in words:
            raise InvalidEnvironment(f"{var} has another value. It takes {', '.join(words)}.")
        return text

    def collector(self, var: str, default: str) -> str:
        """The URL of a collector of traces, which OpenTelemetry's SDK sends to."""
        url: str = self.get_value(var, str, default)
        if url and not url.startswith(("http://", "https://")):
            raise InvalidEnvironment(f"{var} is not a URL such as http://collector:4318.")
        if url and not _has_module("opentelemetry.exporter.otlp.proto.http"):
            raise InvalidEnvironment(
                f"{var} is set, and OpenTelemetry is not installed. "
                "Install django-sendgrid-pipeline[opentelemetry], or remove the variable."
            )
        return url

    def db(self, var: str, default: Any = _REQUIRED) -> dict[str, Any]:
        """Django's settings of the database at a URL."""
        url = self.get_value(var, str, default)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # a warning of django-environ may repeat the password
                settings: dict[str, Any] = self.db_url_config(url)
        except (ValueError, LookupError, UserWarning):
            settings = {}
        engine, name = settings.get("ENGINE"), settings.get("NAME", "")
        # A slash in a password that is not percent-encoded ends up in the name.
        is_misread = engine != self.DB_SCHEMES["sqlite"] and {"/", "@"} & set(name)
        if engine not in self.DB_SCHEMES.values() or is_misread:
            raise InvalidEnvironment(
                f"{var} is not the URL of a database. Write postgres://user:password@host:5432/name, or "
                "sqlite:////absolute/path. In a password, percent-encode all but letters, digits, - and _."
            )
        return settings


def _has_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the package around the module
        return False


def _text_of(name: str) -> tuple[str | None, bool]:
    """The variable's text, or None if it is not set; and whether the text is from a file."""
    text, path = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if not path:
        if text is not None and not _is_utf8(text):
            raise InvalidEnvironment(f"{name} is not UTF-8.")
        return text, False
    if text:
        raise InvalidEnvironment(f"{name} and {name}_FILE are both set. Remove one.")
    try:
        return Path(path).read_text("utf-8-sig").rstrip("\r\n"), True
    except UnicodeDecodeError:
        fault = "it is not UTF-8"
    except OSError as error:
        fault = error.strerror or type(error).__name__
    # Another text may be the secret itself, put into the wrong variable.
    shown = f"the file {path!r}" if path.startswith("/") else "a file by a relative path"
    raise InvalidEnvironment(f"{name}_FILE names {shown}, which cannot be read: {fault}.")


def _is_utf8(text: str) -> bool:
    """Whether the variable is UTF-8. Python puts surrogates in place of other bytes (os.environb)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


def _list(text: str) -> list[str]:
    return [item for item in map(str.strip, text.split(",")) if item]


#: By type: how to read a text, and what to write.
_READERS: dict[type, tuple[Callable[[str], Any], str]] = {
    str: (str, "a text"),
    list: (_list, "a list, separated by commas"),
    bool: (flag, "true or false"),
    int: (int, "a whole number"),
    float: (_number, "a number"),
}
