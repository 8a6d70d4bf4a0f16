"""The multipart form of a post, read from its file without touching a byte of its values."""

from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class File:
    """A part of the form that has a file name, be it an empty one."""

    filename: bytes
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Form:
    """The parts of a post by their names."""

    fields: dict[str, bytes]
    files: dict[str, File]


def read(file: BinaryIO, content_type: str) -> Form:
    """The form in `file`; raises `events_app.decode.Unreadable`, and what reading the file raises."""
    raise NotImplementedError
