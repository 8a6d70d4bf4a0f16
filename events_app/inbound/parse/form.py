"""The multipart form of a post, read from its file with every value unchanged.

Django's parser would decode fields as UTF-8, take a file without a name for a field, and cut or drop unsafe
names. `Fields` holds the plain fields as text, decoded from the charsets named in the post.
"""

from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, BinaryIO

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser
from multipart import parse_options_header as parse_options

from events_app.decode import Unreadable
from events_app.decode import decode_object as decode_json
from events_app.inbound.text.decoding import decode_text, html_charset

#: The most parts of a form. A real mail of 30 MB has fewer attachments.
MOST_PARTS = 2000

#: The most bytes of a part's header line: a file name of 255 characters takes at most 3 kB.
_LONGEST_HEADER = 8192

#: The fields with a mail's source, which has its own charsets. SendGrid's reference names `email`, its agent
#: skill `rawEmail`.
SOURCES = ("email", "rawEmail")

#: The most bytes of JSON to parse. The names of two thousand files take half as much.
MOST_JSON = 1_000_000


@dataclass(frozen=True, slots=True)
class File:
    """A part of the form with a file name, even an empty name."""

    filename: bytes
    #: Without parameters, in lower case; "" for a part without Content-Type.
    content_type: str
    content: bytes
    #: The charset in the part's Content-Type, or "".
    charset: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """The parts of a post by name.

    Of fields with the same name the first counts: SendGrid sends every field once. Files with the same name
    are kept, with a number appended to the names after the first.
    """

    fields: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)


def read_form(file: BinaryIO, content_type: str) -> Form:
    """The form in `file`; raises `events_app.decode.Unreadable`, and the errors of reading the file."""
    media_type, options = parse_options(content_type)
    if media_type != "multipart/form-data":
        raise Unreadable("The post is no multipart form by its Content-Type.")
    boundary = str(options.get("boundary", "")).encode("utf-8", "surrogateescape")
    if not boundary or b"\n" in boundary:
        raise Unreadable("The post's Content-Type names no boundary.")
    parser = PushMultipartParser(
        boundary,
        max_header_size=_LONGEST_HEADER,
        max_segment_count=MOST_PARTS,
        header_charset="latin-1",
    )
    form = Form()
    why = ""
    try:
        _fill(form, parser, file)
    except ParserLimitReached:
        why = f"has more than {MOST_PARTS} parts, or a part with too long a header"
    except MultipartError:
        why = "is no multipart form, or breaks off"
    # Raised outside the handlers: the parser's error would become the context of ours, and error trackers
    # show its values.
    if why:
        raise Unreadable(f"The post {why}.")
    return form


def _fill(form: Form, parser: PushMultipartParser, file: BinaryIO) -> None:
    segment, content = None, BytesIO()
    for event in parser.parse_blocking(file.read):
        if isinstance(event, MultipartSegment):
            segment, content = event, BytesIO()
        elif event is not None:
            content.write(event)
        elif segment is not None:
            _keep(form, segment, content.getvalue())  # no copy


def _keep(form: Form, segment: MultipartSegment, content: bytes) -> None:
    name = _bytes(segment.name or "").decode("utf-8", "replace")
    if segment.filename is None:
        form.fields.setdefault(name, content)
    else:
        unique_name, number = name, 1
        while unique_name in form.files:
            number += 1
            unique_name = f"{name}-{number}"
        form.files[unique_name] = File(
            filename=_bytes(segment.filename),
            content_type=segment.content_type or "",
            content=content,
            charset=segment.charset or "",
        )


def _bytes(text: str) -> bytes:
    """The bytes the parser decoded as latin-1."""
    return text.encode("latin-1")


class Fields(dict[str, str]):
    """The fields as text for a JSON column, without the mail's source."""

    def __init__(self, form: Form) -> None:
        charsets = json_object(form.fields.get("charsets", b""))
        self.charsets = {name: charset for name, charset in charsets.items() if isinstance(charset, str)}
        if "html" not in self.charsets:
            self.charsets["html"] = html_charset(form.fields.get("html", b""))
        super().__init__(
            (decode_text(name.encode("utf-8", "replace")), decode_text(encoded, self.charsets.get(name, "")))
            for name, encoded in form.fields.items()
            if name not in SOURCES
        )

    def object(self, name: str) -> dict[str, Any]:
        """The JSON object in a field; {} for a field without a JSON object."""
        return json_object(self.get(name, "").encode())

    def line(self, name: str) -> str | None:
        """A field of a single word or line; None for a missing or empty field."""
        return self.get(name, "").strip() or None


def json_object(encoded: bytes) -> dict[str, Any]:
    """The JSON object in these bytes; {} for malformed JSON, or JSON longer than `MOST_JSON`."""
    if len(encoded) > MOST_JSON:
        return {}
    try:
        return decode_json(encoded)
    except Unreadable:
        return {}
