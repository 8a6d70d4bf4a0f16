"""A line of a mail's text."""

from typing import NamedTuple

# Zero-width and direction marks, which Outlook and Gmail write around names.
_INVISIBLE = dict.fromkeys(
    [0xAD, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A)]
)


class Line(NamedTuple):
    """A line of plain text, or of HTML as displayed."""

    #: The text with single spaces, without marks of quoting.
    text: str
    #: The line belongs to a quoted mail: ">" before it, or a quoting element around it.
    quoted: bool = False
    #: The line is in a block that some mail programs use for a quoted mail, and writers for other purposes.
    indented: bool = False
    #: By the markup, the line introduces or begins a quoted mail.
    introduces: bool = False


def displayed(text: str) -> str:
    """The text with single spaces and without invisible characters."""
    return " ".join(text.translate(_INVISIBLE).split())
