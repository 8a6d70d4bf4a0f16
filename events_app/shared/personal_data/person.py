"""A person to erase: an address, and the text in which the address stands."""

from dataclasses import dataclass
from functools import cached_property

from events_app.shared.addresses import comparable
from events_app.shared.personal_data.pseudonyms import pseudonym


@dataclass(frozen=True)
class Person:
    """A person, known by an address."""

    #: As an operator wrote the address.
    written: str

    @cached_property
    def address(self) -> str:
        """The comparable address, as columns have it."""
        return comparable(self.written)

    @cached_property
    def pseudonym(self) -> str:
        return pseudonym(self.written)
