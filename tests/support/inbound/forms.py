"""Posts of Inbound Parse, built part by part and read."""

import json
from collections.abc import Mapping
from io import BytesIO
from typing import NamedTuple

from events_app.inbound.parse import form
from events_app.inbound.parse.post import ParsedPost, read_post

BOUNDARY = "xYzZY"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"

MESSAGE_ID = "Message-ID: <one@example.org>\n"
ENVELOPE = json.dumps({"to": ["desk@parse.example.com"], "from": "bounces@example.org"})


#: Fields whose names are not Python's.
_DASHED = {"attachment_info": "attachment-info", "content_ids": "content-ids"}


class Part(NamedTuple):
    """A part of a form: a file where it has a file name."""

    name: str
    content: bytes
    filename: str | None = None
    content_type: str = ""


def body(parts: list[Part]) -> bytes:
    return b"".join(map(_part, parts)) + f"--{BOUNDARY}--\r\n".encode()


def _part(part: Part) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{part.name}"'
    if part.filename is not None:
        head += f'; filename="{part.filename}"'
    if part.content_type:
        head += f"\r\nContent-Type: {part.content_type}"
    return head.encode("utf-8", "surrogateescape") + b"\r\n\r\n" + part.content + b"\r\n"


def fields(values: Mapping[str, str | bytes]) -> list[Part]:
    return [
        Part(n, v if isinstance(v, bytes) else v.encode("utf-8", "surrogatepass")) for n, v in values.items()
    ]


def read_form(parts: list[Part]) -> form.Form:
    return form.read_form(BytesIO(body(parts)), CONTENT_TYPE)


def read(parts: list[Part]) -> ParsedPost:
    return read_post(read_form(parts))


def read_raw(source: bytes, **more: str | bytes) -> ParsedPost:
    """The post of a mail in raw mode."""
    return read([*fields({"email": source}), *fields({"envelope": ENVELOPE} | more)])


def read_parsed(headers: str | bytes = MESSAGE_ID, *files: Part, **more: str | bytes) -> ParsedPost:
    """The post of a mail in parsed mode; `attachment_info` for "attachment-info"."""
    first = [*fields({"headers": headers}), *fields({"envelope": ENVELOPE})]
    rest = fields({_DASHED.get(name, name): value for name, value in more.items()})
    return read([*first, *files, *rest])


#: Every attribute of a message that reads something in it.
MESSAGE_ATTRIBUTES = (
    *("from_email", "to", "cc", "bcc", "subject", "date", "message_id", "in_reply_to", "references"),
    *("text", "html", "stripped_text", "stripped_html", "attachments", "inlines", "content_id_map"),
    *("inline_attachments", "content_id", "envelope_sender", "envelope_recipient", "envelope_recipients"),
    *("spam_detected", "spam_score", "spf", "dkim", "sender_ip", "from_is_aligned"),
)
