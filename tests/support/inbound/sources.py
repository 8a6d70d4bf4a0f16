"""The source of a mail, read."""

from collections.abc import Iterable

from events_app.inbound.message import InboundMessage
from events_app.inbound.mime.bounds import Taken
from events_app.inbound.mime.tree import read_source
from events_app.inbound.part import Part


def parse_source(source: bytes, taken: Taken | None = None) -> InboundMessage:
    return read_source(source, InboundMessage, taken)


def parse_lines(*lines: str) -> InboundMessage:
    return parse_source("\n".join(lines).encode())


def contents(parts: Iterable[Part]) -> list[bytes]:
    return [part.get_content_bytes() for part in parts]
