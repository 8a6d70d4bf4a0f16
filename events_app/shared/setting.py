"""One setting of the apps: what it is called, where it is looked up, what it may hold.

Settings live in the `ANYMAIL` dict under Anymail's names, so that its users keep theirs. A name N is
looked up in this order: an argument of the view or the mail backend, `ANYMAIL["N"]`, `ANYMAIL_N`, plain
`N` where Anymail allows that, the default. Settings are read when used, so tests can override them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")


@dataclass(frozen=True)
class Setting(Generic[T]):
    """One setting. `read` turns what was found into its value, or raises ValueError saying why not."""

    name: str
    default: T
    read: Callable[[object], T]
    bare: bool = False

    def get(self, argument: object = None, argument_of: str = "the view") -> T:
        """The value in force.

        Raises ImproperlyConfigured, naming the place the bad value came from.
        """
        for place, value in self._places(argument, argument_of):
            if value is not None:
                try:
                    return self.read(value)
                except ValueError as error:
                    raise ImproperlyConfigured(f"{place}: {error}") from None
        return self.default

    def places(self) -> list[str]:
        """Where it can be set, in words, the first one the one to name to people."""
        return [place for place, _ in self._places(None, "")][1:]

    def _places(self, argument: object, argument_of: str) -> Iterable[tuple[str, object]]:
        yield f"{argument_of}'s argument for {self.name}", argument
        yield f"ANYMAIL[{self.name!r}]", getattr(settings, "ANYMAIL", {}).get(self.name)
        yield f"ANYMAIL_{self.name}", getattr(settings, f"ANYMAIL_{self.name}", None)
        if self.bare:
            yield self.name, getattr(settings, self.name, None)


def text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a string that is not empty")
    return value


def whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("must be a whole number of at least 1")
    return value


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be True or False")
    return value
