"""Encodes a multipart/form-data body (RFC 7578)."""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

#: SendGrid's boundary.
_BOUNDARY = "xYzZY"


class FormPart(NamedTuple):
    name: str
    value: bytes
    #: None for a field. The name of a file may be empty.
    file_name: str | None = None
    #: None for a field.
    content_type: str | None = None


@dataclass(frozen=True)
class MultipartForm:
    parts: tuple[FormPart, ...]

    def without(self, *names: str) -> "MultipartForm":
        return MultipartForm(tuple(part for part in self.parts if part.name not in names))

    def replaced(self, name: str, value: bytes) -> "MultipartForm":
        """Replace the value of the part `name`, or append a new part."""
        if all(part.name != name for part in self.parts):
            return MultipartForm((*self.parts, FormPart(name, value)))
        return MultipartForm(
            tuple(part._replace(value=value) if part.name == name else part for part in self.parts)
        )

    @property
    def content_type(self) -> str:
        return f"multipart/form-data; boundary={self._boundary}"

    def body(self) -> bytes:
        between = f"--{self._boundary}\r\n".encode()
        parts = b"".join(between + _head(part) + part.value + b"\r\n" for part in self.parts)
        return parts + f"--{self._boundary}--\r\n".encode()

    @property
    def _boundary(self) -> str:
        """SendGrid's boundary, or one that no value contains."""
        tried = itertools.chain([_BOUNDARY], (f"{_BOUNDARY}{number}" for number in itertools.count(1)))
        return next(one for one in tried if all(one.encode() not in part.value for part in self.parts))


def _head(part: FormPart) -> bytes:
    head = f'Content-Disposition: form-data; name="{_quotable(part.name)}"'
    if part.file_name is not None:
        head += f'; filename="{_quotable(part.file_name)}"'
    if part.content_type is not None:
        head += f"\r\nContent-Type: {part.content_type}"
    return f"{head}\r\n\r\n".encode()


def _quotable(text: str) -> str:
    # A line break in a name would end the header.
    return " ".join(text.splitlines()).replace("\\", "\\\\").replace('"', '\\"')
