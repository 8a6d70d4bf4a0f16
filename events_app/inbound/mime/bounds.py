"""The bounds of a mail, so that no mail takes long to be read."""

from dataclasses import dataclass, field

from events_app.decode import Unreadable
from events_app.inbound.text.headers import Budget

#: Bounds of a mail: its parts on all levels, the levels, the bytes and lines of all parts' headers, and the
#: bytes searched for parts. The bytes of a part on the tenth level count ten times.
MOST_PARTS = 1000
MOST_LEVELS = 100
MOST_HEADER_BYTES = 1_000_000
MOST_HEADER_LINES = 50_000
MOST_SEARCHED = 400_000_000


@dataclass
class Taken:
    """The use of the bounds, by a mail or by several mails together."""

    parts: int = 0
    header_bytes: int = 0
    header_lines: int = 0
    searched: int = 0
    budget: Budget = field(default_factory=Budget)

    def add_part(self, head: bytes) -> None:
        """Count a part with these headers. Raises Unreadable beyond a bound."""
        self.parts += 1
        if self.parts > MOST_PARTS:
            raise Unreadable(f"The mail has more than {MOST_PARTS} parts.")
        self.add_bytes(len(head))
        self.header_lines += max(head.count(b"\n"), head.count(b"\r"))
        if self.header_lines > MOST_HEADER_LINES:
            raise Unreadable(f"The mail's headers have more than {MOST_HEADER_LINES} lines.")

    def add_bytes(self, size: int) -> None:
        """Count bytes of headers. Raises Unreadable beyond the bound."""
        self.header_bytes += size
        if self.header_bytes > MOST_HEADER_BYTES:
            raise Unreadable(f"The mail's headers have more than {MOST_HEADER_BYTES} bytes.")

    def search(self, size: int) -> None:
        """Count searched bytes. Raises Unreadable beyond the bound."""
        self.searched += size
        if self.searched > MOST_SEARCHED:
            raise Unreadable("The mail has too much content on too many levels.")
