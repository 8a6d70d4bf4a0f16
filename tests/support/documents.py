"""The fenced blocks of a document. A block is named by its heading and its number below this heading."""

import re
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

_HEADING_OR_BLOCK = re.compile(
    r"^#{1,6} (?P<heading>[^\n]+)$|^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    document: str
    heading: str
    number: int
    language: str
    text: str


def blocks(document: str) -> list[Block]:
    """All blocks of a document, such as "docs/deploy.md"."""
    found: list[Block] = []
    heading, number = "", 0
    for match in _HEADING_OR_BLOCK.finditer((ROOT / document).read_text()):
        if match["heading"]:
            heading, number = match["heading"], 0
        else:
            number += 1
            found.append(Block(document, heading, number, match["language"], dedent(match["text"])))
    return found


def block(document: str, heading: str, number: int = 1) -> str:
    """The text of a block. The arguments are literals, which `tests/test_documents.py` finds."""
    (text,) = (one.text for one in blocks(document) if (one.heading, one.number) == (heading, number))
    return text


def files(text: str) -> dict[str, str]:
    """The files in a block of Python, each below a comment with its path, by path."""
    parts = re.split(r"^# ([\w/]+\.py)(?:, at its end)?\n", text, flags=re.MULTILINE)
    assert not parts[0].strip(), "a block of files begins with a path"
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def files_below(document: str, heading: str) -> dict[str, str]:
    """The files in all blocks of Python below a heading, by path."""
    found: dict[str, str] = {}
    for one in blocks(document):
        if (one.heading, one.language) == (heading, "python"):
            found |= files(one.text)
    return found


def commands(text: str) -> list[str]:
    """The commands in a block of shell, without comments and with each on one line."""
    lines = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [re.sub(r" {2,}", " ", line.strip()) for line in lines if line.strip()]
