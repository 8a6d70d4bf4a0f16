"""The source of a mail -> a tree of parts.

No library gives the standard library's tree of parts within bounds. The standard library's own parser makes a
string of each line, and checks each line once for every level around the line: a megabyte of short lines in
90 multiparts takes 1.8 s of CPU, here 0.1 s (`benchmarks.hostile._nested(90, b"a\\n" * 500_000)`), and 30 MB
could keep a worker busy for a minute. fast-mail-parser gives no tree, and raised on 29 of 1,720 public mails.
This module finds the headers and the parts in the bytes. `test_oracle` has all known differences from the
standard library.

The parser tolerates the structure that broken mail programs and gateways send (also in `heads` and
`boundaries`):

- A multipart with the boundary of the multipart around it takes the parts up to the first closing delimiter.
- Lines that end with two carriage returns and a line feed end once.
"""

import re
from email.errors import StartBoundaryNotFoundDefect
from itertools import chain
from typing import Generic, TypeVar

from events_app.decode import Unreadable
from events_app.inbound.mime.boundaries import Delimiters, declared_boundaries
from events_app.inbound.mime.bounds import MOST_LEVELS, Taken
from events_app.inbound.mime.heads import LINE_END, head_and_body, header_lines
from events_app.inbound.part import Part, mail_policy
from events_app.inbound.text.headers import decode_bytes
from events_app.inbound.text.transfer import transfer_encoding

_BLANK_LINES = re.compile(rb"(?>\r\n|\r|\n)(?:[ \t]*(?>\r\n|\r|\n))++")

# A multipart's content without parts: only space, perhaps with the closing delimiter.
_NOTHING = re.compile(rb"\s*+(?:--[^\r\n]++(?<=--)\s*+)?\Z")

#: Charsets of parts that tell nothing about headers of bytes that are not UTF-8.
OF_UTF_8 = (None, "ascii", "utf-8")

_Mail = TypeVar("_Mail", bound=Part)


def read_source(source: bytes, mail_class: type[_Mail], taken: Taken | None = None) -> _Mail:
    """The mail with this source, and its parts, of this class. `taken` is the use of the bounds so far.

    Raises Unreadable beyond a bound.
    """
    tree = _Tree(source, mail_class, taken or Taken())
    mail = tree.part(0, len(tree.source), 0, is_mail=True)
    tree.decode_headers(mail)
    return mail


def read_attached(part: Part, source: bytes, taken: Taken | None = None) -> None:
    """Give a part of type message the mail with this source, or the blocks of headers of a delivery status.

    Raises Unreadable beyond a bound.
    """
    tree = _Tree(source, type(part), taken or Taken())
    tree.add_messages(part, 0, len(tree.source), 0)
    tree.decode_headers(part)
    part.keep_source(source)


class _Tree(Generic[_Mail]):
    def __init__(self, source: bytes, mail_class: type[_Mail], taken: Taken) -> None:
        first_line_end = LINE_END.search(source)
        if first_line_end and source.startswith(b"\r\r\n", first_line_end.start()):
            source = source.replace(b"\r\r\n", b"\r\n")
            first_line_end = LINE_END.search(source)
        crlf = first_line_end is not None and first_line_end[0] == b"\r\n"
        self.source = source
        self._mail_class = mail_class
        self._taken = taken
        self._policy = mail_policy(taken.budget, "\r\n" if crlf else "\n")
        self._delimiters = Delimiters(source, taken)
        #: The delimiters of the multiparts around the part being read.
        self._around: list[bytes] = []
        #: The parts whose headers may be in a charset without a label.
        self._with_bytes: list[_Mail] = []

    def part(
        self, start: int, end: int, level: int, default: str = "text/plain", *, is_mail: bool = False
    ) -> _Mail:
        """The part between two positions of the source, with its inner parts."""
        if level > MOST_LEVELS:
            raise Unreadable(f"The mail nests deeper than {MOST_LEVELS} levels.")
        message, body = self._head(start, end, is_mail=is_mail)
        message.set_default_type(default)
        main_type = message.get_content_maintype()
        if main_type in ("multipart", "message"):
            self._taken.search(end - body)
        if main_type == "multipart":
            self._add_parts(message, body, end, level)
        elif main_type == "message" and not transfer_encoding(message):
            self.add_messages(message, body, end, level)
        else:
            message.set_payload(self._text(body, end))
        return message

    def decode_headers(self, root: Part) -> None:
        """Decode headers of bytes in the charset of their part, else in the first in the tree of `root`."""
        if not self._with_bytes:
            return
        charsets = (part.get_content_charset() for part in root.walk())
        first = next((charset for charset in charsets if charset not in OF_UTF_8), "")
        for part in self._with_bytes:
            charset = part.get_content_charset()
            decode_bytes(part, first if charset in OF_UTF_8 else charset)

    def add_messages(self, message: _Mail, start: int, end: int, level: int) -> None:
        """Add the mail in a part of type message, or the blocks of headers of a delivery status."""
        message.set_payload([])
        if message.get_content_type() != "message/delivery-status":
            message.attach(self.part(start, end, level + 1, is_mail=True))
        else:
            # Blocks of headers, separated by blank lines.
            at = start
            for blank in chain(_BLANK_LINES.finditer(self.source, start, end), (None,)):
                stop = blank.start() if blank else end
                if stop > at:
                    block, _ = self._head(at, stop)
                    message.attach(block)
                at = blank.end() if blank else end
        message.keep_source(self.source, start, end)

    def _head(self, start: int, end: int, *, is_mail: bool = False) -> tuple[_Mail, int]:
        """A message with the headers beginning at `start`, and the start of its body."""
        head, body = head_and_body(self.source, start, end, is_mail=is_mail)
        self._taken.add_part(head)
        message = self._mail_class(self._policy)
        for line in header_lines(head):
            message.set_raw(*self._policy.header_source_parse([line]))
        message.set_payload("")
        if not head.isascii() or b"\x1b$" in head:
            self._with_bytes.append(message)
        return message, body

    def _add_parts(self, message: _Mail, start: int, end: int, level: int) -> None:
        default = "message/rfc822" if message.get_content_type() == "multipart/digest" else "text/plain"
        message.set_payload([])
        boundary, delimiters = self._delimiters.find(message, start, end)
        if not boundary:
            self._add_content(message, start, end)
            return
        self._around.append(boundary)
        # Multiparts inside that have the same boundary are open until a closing delimiter.
        open_multiparts = [message]
        begin = None
        for at, delimiter in delimiters:
            # The line end before a delimiter belongs to the delimiter (RFC 2046, 5.1.1).
            line_end = 2 if self.source[at - 2 : at] == b"\r\n" else 1
            stop = max(start if begin is None else begin, at - line_end)
            if begin is None:
                if not message.get_payload():
                    message.preamble = self._text(start, stop) or None
            elif at > begin:
                part = self.part(begin, stop, level + len(open_multiparts), default)
                open_multiparts[-1].attach(part)
                is_empty = part.get_content_maintype() == "multipart" and not part.get_payload()
                if is_empty and boundary in declared_boundaries(part):
                    open_multiparts.append(part)
            begin = delimiter.end()
            if delimiter[1]:
                if len(open_multiparts) == 1:
                    message.epilogue = self._text(begin, end) if delimiter[2] else None
                    begin = None
                    break
                open_multiparts.pop()
                begin = None
        if begin is not None:
            open_multiparts[-1].attach(self.part(begin, end, level + len(open_multiparts), default))
        self._around.pop()

    def _add_content(self, message: _Mail, start: int, end: int) -> None:
        """Add the content of a multipart without parts as the only part, but no empty part."""
        message.defects.append(StartBoundaryNotFoundDefect())
        has_outer_boundary = any(boundary in self._around for boundary in declared_boundaries(message))
        if has_outer_boundary or _NOTHING.match(self.source, start, end):
            message.preamble = self._text(start, end) or None
            return
        content, _ = self._head(start, start)
        content.set_payload(self._text(start, end))
        message.attach(content)

    def _text(self, start: int, end: int) -> str:
        return self.source[start:end].decode("ascii", "surrogateescape")
