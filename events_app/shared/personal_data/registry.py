"""The places that hold data of persons. Each app registers its places when the app is ready."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Set
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from events_app.shared.personal_data.person import Person

#: Numbers by name, for output: "events", "inbound mails".
Counts: TypeAlias = Counter[str]

#: The id of a message, and the time of an erasure.
MessageAndErasure: TypeAlias = tuple[str, datetime]


class ErasureFailed(Exception):
    """The erasure cannot go on now. The text says what to do, and has no address."""


@dataclass(frozen=True)
class Place:
    """A place that holds data of persons, such as a table or a folder."""

    #: A plural noun, for output.
    name: str
    #: Counts the data that `erase` would change. Yields after each slice, so that a caller can show progress.
    count: Callable[[Person], Iterator[Counts]]
    #: Erases in slices, a transaction each, and yields the counts of each slice. A repeat is harmless.
    #: Raises ErasureFailed and database errors.
    erase: Callable[[Person], Iterator[Counts]]


#: In the order of erasure.
places: list[Place] = []


def declare(place: Place) -> None:
    """Register the place. A place of the same name is replaced."""
    places[:] = [other for other in places if other.name != place.name]
    places.append(place)


def _no_newer_mails(_: Collection[MessageAndErasure]) -> Set[MessageAndErasure]:
    return frozenset()


#: Returns the pairs whose message was made after the erasure. Events of these messages are stored unchanged.
#: The app that keeps the mails replaces this function. Raises database errors.
newer_mails: Callable[[Collection[MessageAndErasure]], Set[MessageAndErasure]] = _no_newer_mails
