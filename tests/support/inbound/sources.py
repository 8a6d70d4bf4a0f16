"""The source of a mail, read."""

from events_app.inbound.message import InboundMessage
from events_app.inbound.mime.bounds import Taken
from events_app.inbound.mime.tree import read_source


def parse_source(source: bytes, taken: Taken | None = None) -> InboundMessage:
    return read_source(source, InboundMessage, taken)
