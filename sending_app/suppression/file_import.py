"""The import of a file of suppressions, in slices, with counts."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from events_app.shared.database import SLICE
from sending_app.suppression.beginnings import beginnings, with_rows
from sending_app.suppression.csv_file import BadLine
from sending_app.suppression.record import Word, record_words


@dataclass
class FileImport:
    """An import in progress. After an error the earlier slices stay."""

    database: str
    #: Whether words are only counted.
    dry_run: bool
    #: Lines read so far, bad ones included.
    lines: int = 0
    bad: int = 0
    #: Suppressions that have begun, or whose end has changed.
    begun: int = 0
    _waiting: list[Word] = field(default_factory=list)

    @property
    def left_alone(self) -> int:
        """The number of words that have changed nothing."""
        return self.lines - self.bad - self.begun - len(self._waiting)

    def run(self, items: Iterable[Word | BadLine]) -> Iterator[BadLine | None]:
        """Record the words in slices. Yields each bad line, and None after each full slice."""
        for item in items:
            self.lines += 1
            if isinstance(item, BadLine):
                self.bad += 1
                yield item
                continue
            self._waiting.append(item)
            if len(self._waiting) == SLICE:
                self._record()
                yield None
        self._record()

    def _record(self) -> None:
        words = beginnings(with_rows(self._waiting, self.database))
        if self.dry_run:
            self.begun += len({word.key for word in words})
        else:
            self.begun += record_words(words, self.database)
        self._waiting.clear()
