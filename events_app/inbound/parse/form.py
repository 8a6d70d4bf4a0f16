"""The multipart form of a post, read from its file without touching a byte of its values.

Not Django's parser: it decodes the fields as UTF-8, takes a file without a name for a field, and
cuts or drops names that it holds unsafe. `Fields` has the plain fields as text, each in the charset that the
post names for it.
"""

from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, BinaryIO

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser
from multipart import parse_options_header as parse_options

from events_app.decode import Unreadable
from events_app.decode import decode as decode_json
from events_app.inbound.text.decoding import decode

#: Parts of one form. A mail of 30 MB with more attachments than this would be a curiosity.
MOST_PARTS = 2000

#: Bytes of one header line of a part: a file name of 255 characters takes 3 kB at the most.
_LONGEST_HEADER = 8192

#: The fields that hold a mail's source, which has charsets of its own. SendGrid's reference says `email`,
#: its agent skill `rawEmail`.
SOURCES = ("email", "rawEmail")

#: Bytes of JSON that are read. The names of two thousand files take half as much.
MOST_JSON = 1_000_000


@dataclass(frozen=True, slots=True)
class File:
    """A part of the form that has a file name, be it an empty one."""

    filename: bytes
    #: Without parameters, lower case; "" where the part names none.
    content_type: str
    content: bytes
    #: As the part's Content-Type names it, or "".
    charset: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """The parts of a post by their names.

    Of fields that have one name the first counts: SendGrid sends each once. Files that have one name
    are all kept, the later ones with a number behind it.
    """

    fields: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)


def read(file: BinaryIO, content_type: str) -> Form:
    """The form in `file`; raises `events_app.decode.Unreadable`, and what reading the file raises."""
    parser = PushMultipartParser(
        _boundary(content_type),
        max_header_size=_LONGEST_HEADER,
        max_segment_count=MOST_PARTS,
        header_charset="latin-1",
    )
    form = Form()
    why = ""
    try:
        _fill(form, parser, file)
    except ParserLimitReached:
        why = f"has more than {MOST_PARTS} parts, or a part has a header too long to be one"
    except MultipartError:
        why = "is no multipart form, or breaks off"
    # Outside the handlers: the parser's error would hang on ours, and error trackers show its values.
    if why:
        raise Unreadable(f"The post {why}.")
    return form


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options(content_type)
    if kind != "multipart/form-data":
        raise Unreadable("The post is no multipart form by its Content-Type.")
    boundary = str(options.get("boundary", "")).encode("utf-8", "surrogateescape")
    if not boundary or b"\n" in boundary:
        raise Unreadable("The post's Content-Type names no boundary.")
    return boundary


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
        kind, charset = segment.content_type or "", segment.charset or ""
        form.files[_free(form, name)] = File(_bytes(segment.filename), kind, content, charset)


def _free(form: Form, name: str) -> str:
    if name not in form.files:
        return name
    return next(
        other for number in range(2, MOST_PARTS + 2) if (other := f"{name}-{number}") not in form.files
    )


def _bytes(text: str) -> bytes:
    """What the parser has read as latin-1."""
    return text.encode("latin-1")


class Fields(dict[str, str]):
    """The fields without the mail's source: fit for a JSON column."""

    def __init__(self, form: Form) -> None:
        self.charsets: dict[str, str] = {}
        charsets = json_object(form.fields.get("charsets", b""))
        self.charsets = {name: each for name, each in charsets.items() if isinstance(each, str)}
        super().__init__(
            (decode(name.encode("utf-8", "replace")), decode(value, self.charsets.get(name, "")))
            for name, value in form.fields.items()
            if name not in SOURCES
        )

    def object(self, name: str) -> dict[str, Any]:
        """The JSON object in a field; an empty one where it holds none."""
        return json_object(self.get(name, "").encode())

    def line(self, name: str) -> str | None:
        """A field of one word or line; None where it is missing or empty."""
        return self.get(name, "").strip() or None


def json_object(value: bytes) -> dict[str, Any]:
    """The JSON object in a value; an empty one where it holds none, or is longer than `MOST_JSON`."""
    if len(value) > MOST_JSON:
        return {}
    try:
        return decode_json(value)
    except Unreadable:
        return {}
