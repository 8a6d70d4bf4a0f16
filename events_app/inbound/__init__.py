"""Inbound mail: from a post in the storage to the message of a receiver."""

from events_app.inbound.message import InboundMessage
from events_app.inbound.parse import mime

# The parser is above the message, which is what it makes.
InboundMessage._read_source = mime.parse
