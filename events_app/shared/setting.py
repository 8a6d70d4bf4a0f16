"""A setting of the apps: the name, the places of look-up, and the valid values.

Settings are in the `ANYMAIL` dict under Anymail's names, so that users of Anymail keep their settings. The
look-up order of a name N: an argument of the view or the mail backend, `ANYMAIL["N"]`, `ANYMAIL_N`, plain `N`
if Anymail allows plain `N`, the default. Settings are read at every use, so tests can override settings.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")

#: The names of the settings of the installed apps.
registered_names: set[str] = set()


@dataclass(frozen=True)
class Setting(Generic[T]):
    """A setting. `read` converts a user's value, or raises ValueError with the fault."""

    name: str
    default: T
    read: Callable[[object], T]
    bare: bool = False

    def get(self, argument: object = None, argument_of: str = "the view") -> T:
        """The value in force. Raises ImproperlyConfigured with the place and the fault of a bad value."""
        for place, raw in self._places(argument, argument_of):
            if raw is not None:
                try:
                    return self.read(raw)
                except ValueError as error:
                    raise ImproperlyConfigured(f"{place}: {error}") from None
        return self.default

    def places(self) -> list[str]:
        """The places of the setting, in words. Messages to users name the first place."""
        return [place for place, _ in self._places(None, "")][1:]

    def _places(self, argument: object, argument_of: str) -> Iterable[tuple[str, object]]:
        yield f"{argument_of}'s argument for {self.name}", argument
        yield f"ANYMAIL[{self.name!r}]", getattr(settings, "ANYMAIL", {}).get(self.name)
        yield f"ANYMAIL_{self.name}", getattr(settings, f"ANYMAIL_{self.name}", None)
        if self.bare:
            yield self.name, getattr(settings, self.name, None)


def register(module: Mapping[str, Any]) -> tuple[Setting[Any], ...]:
    """The settings among the names of a `conf` module. The check of setting names knows them from now on."""
    settings = tuple(setting for setting in module.values() if isinstance(setting, Setting))
    registered_names.update(setting.name for setting in settings)
    return settings


def non_empty_text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a string that is not empty")
    return value


def texts(value: object) -> tuple[str, ...]:
    several = [value] if isinstance(value, str) else value
    if not isinstance(several, list | tuple) or not all(isinstance(text, str) for text in several):
        raise ValueError("must be a string or a list of strings")
    return tuple(text for text in several if text.strip())


def one_of(*choices: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in choices:
            raise ValueError(f"must be one of: {', '.join(choices)}")
        return str(value)

    return read


def whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("must be a whole number of at least 1")
    return value


def whole_or_unlimited(value: object) -> int | None:
    """0 means no limit."""
    return None if type(value) is int and value == 0 else whole(value)


def at_least(minimum: int, why: str) -> Callable[[object], int]:
    def read(value: object) -> int:
        number = whole(value)
        if number < minimum:
            raise ValueError(f"must be at least {minimum}: {why}")
        return number

    return read


#: A project may read a flag from an environment, as text.
_FLAGS: dict[object, bool] = {
    **dict.fromkeys(("true", "yes", "on", "1", 1), True),
    **dict.fromkeys(("false", "no", "off", "0", 0), False),
}


def flag(value: object) -> bool:
    word = value.strip().lower() if isinstance(value, str) else value
    if not isinstance(word, str | int) or word not in _FLAGS:
        raise ValueError("must be True or False")
    return _FLAGS[word]
