"""A setting of the apps: the name, the places of look-up, and the valid values.

Settings are in the `ANYMAIL` dict under Anymail's names, so that users of Anymail keep their settings. The
look-up order of a name N: an argument of the view or the mail backend, `ANYMAIL["N"]`, `ANYMAIL_N`, plain `N`
if Anymail allows plain `N`, the default. Settings are read at every use, so tests can override settings.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

#: The largest number of a setting, and of days. Larger numbers leave the range of dates.
LARGEST, MOST_DAYS = 10**9, 36_500

#: The settings of the installed apps, by name.
registered: dict[str, "Setting[Any]"] = {}


@dataclass(frozen=True)
class Kind(Generic[T_co]):
    """Which values a setting takes. `read` converts a user's value, or raises ValueError with the fault."""

    read: Callable[[object], T_co]
    #: The values in words, as Markdown. A number comes after its unit: "days: 1 or more".
    words: str

    def __call__(self, value: object) -> T_co:
        return self.read(value)


def kind(words: str) -> Callable[[Callable[[object], T]], Kind[T]]:
    """A decorator of a function that reads a value. `words` are the values in words."""
    return lambda read: Kind(read, words)


@dataclass(frozen=True)
class Setting(Generic[T]):
    """A setting, as docs/settings.md shows it.

    `meaning` is Markdown with links from there. `unit` is of a number. `bare`: the plain name counts too.
    """

    name: str
    default: T
    read: Kind[T]
    bare: bool = False
    _: KW_ONLY
    meaning: str
    unit: str = ""

    def get(self, argument: object = None, argument_of: str = "the view") -> T:
        """The value in force. Raises ImproperlyConfigured with the place and the fault of a bad value."""
        for number, raw in enumerate(self._values(argument)):
            if raw is not None:
                try:
                    return self.read(raw)
                except ValueError as error:
                    places = [f"{argument_of}'s argument for {self.name}", *self.places()]
                    raise ImproperlyConfigured(f"{places[number]}: {error}") from None
        return self.default

    def is_set(self) -> bool:
        """Whether the project has set a value."""
        return any(raw is not None for raw in self._values(None))

    def places(self) -> list[str]:
        """The places of the setting, in words. Messages to users name the first place."""
        return [f"ANYMAIL[{self.name!r}]", *self._names]

    def _values(self, argument: object) -> Iterator[object]:
        """The value of the argument and of each place, or None."""
        # Without the places in words: each post reads a dozen settings.
        yield argument
        yield anymail().get(self.name)
        for name in self._names:
            yield getattr(settings, name, None)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        """Its names as a setting of its own."""
        return (f"ANYMAIL_{self.name}", *[self.name] * self.bare)


def anymail() -> Mapping[str, Any]:
    """The `ANYMAIL` dict. Raises ImproperlyConfigured if it is not a dict."""
    anymail = getattr(settings, "ANYMAIL", {})
    if not isinstance(anymail, Mapping):
        raise ImproperlyConfigured(
            f"ANYMAIL must be a dict of settings, not {type(anymail).__name__}: "
            'ANYMAIL = {"SENDGRID_API_KEY": "..."}'
        )
    return anymail


def register(module: Mapping[str, Any]) -> tuple[Setting[Any], ...]:
    """The settings among the names of a `conf` module. The check of setting names knows them from now on."""
    settings = tuple(setting for setting in module.values() if isinstance(setting, Setting))
    registered.update((setting.name, setting) for setting in settings)
    return settings


def faults(settings: Iterable[Setting[Any]]) -> list[str]:
    """The faults of all unusable values; a single fault if `ANYMAIL` is not a dict."""
    faults: dict[str, None] = {}
    for setting in settings:
        try:
            setting.get()
        except ImproperlyConfigured as error:
            faults[str(error)] = None
    return list(faults)


@kind("text")
def non_empty_text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a string that is not empty")
    return value


@kind("text")
def text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return value.strip()


@kind("text, or a list")
def texts(value: object) -> tuple[str, ...]:
    several = [value] if isinstance(value, str) else value
    if not isinstance(several, list | tuple) or not all(isinstance(text, str) for text in several):
        raise ValueError("must be a string or a list of strings")
    return tuple(text for text in several if text.strip())


def one_of(*choices: str) -> Kind[str]:
    @kind(", ".join(f'`"{choice}"`' for choice in choices))
    def read(value: object) -> str:
        if value not in choices:
            raise ValueError(f"must be one of: {', '.join(choices)}")
        return str(value)

    return read


@kind("1 or more")
def whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("must be a whole number of at least 1")
    if value > LARGEST:
        raise ValueError(f"must be at most {LARGEST}")
    return value


@kind("1 or more, or `0`: no maximum")
def whole_or_unlimited(value: object) -> int | None:
    """0 means no limit."""
    return None if type(value) is int and value == 0 else whole(value)


@kind("1 or more")
def days(value: object) -> int:
    number = whole(value)
    if number > MOST_DAYS:
        raise ValueError(f"must be at most {MOST_DAYS} days, a hundred years")
    return number


def days_from(minimum: int, why: str) -> Kind[int]:
    @kind(f"{minimum} or more")
    def read(value: object) -> int:
        number = days(value)
        if number < minimum:
            raise ValueError(f"must be at least {minimum}: {why}")
        return number

    return read


def or_never(days: Kind[int]) -> Kind[int | None]:
    """Days as `days` takes them, and 0 for never."""

    @kind(f"{days.words}, or `0`: forever")
    def read(value: object) -> int | None:
        return None if type(value) is int and value == 0 else days(value)

    return read


#: A project may read a flag from an environment, as text.
_FLAGS: dict[object, bool] = {
    **dict.fromkeys(("true", "yes", "on", "1", 1), True),
    **dict.fromkeys(("false", "no", "off", "0", 0), False),
}


@kind("`True` or `False`")
def flag(value: object) -> bool:
    word = value.strip().lower() if isinstance(value, str) else value
    if not isinstance(word, str | int) or word not in _FLAGS:
        raise ValueError("must be True or False")
    return _FLAGS[word]
