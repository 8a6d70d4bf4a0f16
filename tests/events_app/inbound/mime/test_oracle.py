"""The parser agrees with the standard library's about the parts of a mail, except where a reason is given.

The oracle is the parser of the standard library with its oldest policy, `compat32`, of which the parser here
uses nothing.
"""

import re
from base64 import encodebytes
from collections.abc import Callable
from email import message_from_bytes
from email.errors import NoBoundaryInMultipartDefect, StartBoundaryNotFoundDefect
from email.message import Message
from email.policy import compat32
from quopri import encodestring
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.support.inbound.sources import parse_source
from tests.support.strategies import mail_sources


def parts_of(mail: "Message[Any, Any]") -> Any:
    """A part's content type, header names, file name, and its content or inner parts."""
    payload: Any = mail._payload  # type: ignore[attr-defined]
    head = (mail.get_content_type(), [name.lower() for name, _ in mail.raw_items()], mail.get_filename())
    if not isinstance(payload, list):
        content: Any = mail.get_payload(decode=True)
        return (*head, content.rstrip(b"\r\n"))
    return (*head, [described for part in payload if (described := parts_of(part))[1:] != ([], None, b"")])


def expected(source: bytes) -> Any:
    return parts_of(message_from_bytes(source, policy=compat32))


# --- Generated mails of correct structure ---

CONTENTS = st.sampled_from(
    [b"", b"text", b"\r\n--\r\n", b"From x\n\n.", b"\n\n\n", b"--b\n", b"\xff\0\xfe", b"A: b\n\nc"]
) | st.binary(max_size=60)
FILE_NAMES = ("a.pdf", "two words.txt", "größe.csv", 'a"b\\c;d.txt', "報告.pdf")


@st.composite
def headers(draw: st.DrawFn, *lines: str) -> bytes:
    """A block of the headers in any order, each in one of the spellings that RFC 5322 allows."""
    spelled = []
    for line in filter(None, draw(st.permutations(lines))):
        name, _, value = line.partition(": ")
        folded = value.replace("; ", ";\n ")
        spellings = (line, f"{name}:{value}", f"{name.upper()}:   {value}", f"{name.lower()}:\t{folded}")
        spelled.append(draw(st.sampled_from(spellings)))
    return "".join(f"{line}\n" for line in [*spelled, ""]).encode()


def encode(content: bytes, encoding: str) -> bytes:
    if encoding == "base64":
        return encodebytes(content)
    return encodestring(content) if encoding == "quoted-printable" else content


@st.composite
def leaves(draw: st.DrawFn) -> bytes:
    encoding = draw(st.sampled_from(["base64", "quoted-printable", "8bit", ""]))
    name = draw(st.sampled_from(["", *FILE_NAMES]))
    parameter = ""
    if name and name.isascii():
        parameter = '; filename="{}"'.format(re.sub(r'(["\\])', r"\\\1", name))
    elif name:
        parameter = f"; filename*=utf-8''{quote(name)}"
    content_type = draw(
        st.sampled_from(["text/plain; charset=utf-8", "text/html", "application/pdf", "image/png"])
    )
    head = draw(
        headers(
            f"Content-Type: {content_type}",
            f"Content-Disposition: attachment{parameter}" if name else "",
            f"Content-Transfer-Encoding: {encoding}" if encoding else "",
        )
    )
    return head + encode(draw(CONTENTS), encoding)


@st.composite
def messages(draw: st.DrawFn, inner: st.SearchStrategy[bytes]) -> bytes:
    head = draw(headers("Content-Type: message/rfc822", "Content-Disposition: attachment; filename=a.eml"))
    return head + b"Subject: inside\n" + draw(inner)


@st.composite
def multiparts(draw: st.DrawFn, inner: st.SearchStrategy[bytes]) -> bytes:
    parts = draw(st.lists(inner, min_size=1, max_size=3))
    # A boundary that no inner part has.
    boundary = f"={'=' * max(part.count(b'boundary') for part in parts)}b"
    subtype = draw(st.sampled_from(["mixed", "alternative", "related", "signed", "report"]))
    head = draw(headers(f'Content-Type: multipart/{subtype}; boundary="{boundary}"', "X-Other: y"))
    delimiter = f"--{boundary}".encode()
    padding = draw(st.sampled_from([b"", b" ", b"\t "]))
    body = draw(st.sampled_from([b"", b"preamble\n", b"--\n"]))
    body += b"".join(delimiter + padding + b"\n" + part + b"\n" for part in parts)
    return head + body + draw(st.sampled_from([delimiter + b"--", delimiter + b"--\nepilogue\n", b""]))


mails = st.recursive(leaves(), lambda inner: multiparts(inner) | messages(inner), max_leaves=6)


@given(mails, st.sampled_from([b"\n", b"\r\n"]))
def test_a_mail_of_correct_structure_is_read_like_by_the_standard_library(mail: bytes, eol: bytes) -> None:
    source = b"From: a@b.example\nSubject: x\n" + re.sub(rb"\r?\n|\r", eol, mail)
    assert parts_of(parse_source(source)) == expected(source)


BOUNCE = b"""\
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="=_report"

This is a MIME-encapsulated message.

--=_report
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

The mail could not be delivered.

--=_report
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org
Arrival-Date: Mon, 1 Jun 2026 10:00:00 +0000

Final-Recipient: rfc822; nobody@example.org
Action: failed
Status: 5.1.1

--=_report
Content-Description: Undelivered Message
Content-Type: message/rfc822

Subject: Hello
Content-Type: multipart/alternative; boundary="=_report_inside"

--=_report_inside
Content-Type: text/plain

Hello
--=_report_inside
Content-Type: text/html; charset="utf-8"

<p>Hello
--=_report_inside--

--=_report--
"""
NESTED = b"""\
Content-Type: multipart/mixed; boundary=Apple-Mail

--Apple-Mail
Content-Type: multipart/signed; protocol="application/pgp-signature"; boundary="Apple-Mail-1"

--Apple-Mail-1
Content-Type: multipart/related; type="text/html"; boundary="Apple-Mail-1-2"; charset=utf-8

--Apple-Mail-1-2
Content-Type: text/html
Content-Transfer-Encoding: quoted-printable

<img src=3D"cid:a">=
--Apple-Mail-1-2
Content-Type: image/png; name*0="long n"; name*1="ame.png"
Content-ID: <a>
Content-Transfer-Encoding: base64

iVBORw0KGgo=

--Apple-Mail-1-2--
--Apple-Mail-1
Content-Type: application/pgp-signature; name=signature.asc

-----BEGIN PGP SIGNATURE-----
-----END PGP SIGNATURE-----
--Apple-Mail-1--

--Apple-Mail
Content-Type: text/plain

--\x20
a list
"""


@pytest.mark.parametrize("eol", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(
    "mail", [BOUNCE, NESTED, NESTED + BOUNCE, BOUNCE[:-12], BOUNCE.replace(b"\n\n--", b"\n--")]
)
def test_a_usual_mail_is_read_like_by_the_standard_library(mail: bytes, eol: bytes) -> None:
    source = mail.replace(b"\n", eol)
    assert parts_of(parse_source(source)) == expected(source)


# --- Lines in any order ---

HEADER = rb"[A-Za-z][\w-]*:"
EOL = rb"(?:\r\n|\r|\n)"
FOLDED = rb"(?:[ \t][^\r\n]*" + EOL + rb")*"
NOTHING_BEFORE = rb"(?:\A|(?:\A|[\r\n])--[^\r\n]*" + EOL + rb"|" + EOL + EOL + rb")"


class Difference(NamedTuple):
    """Sources that both parsers read differently, with what the standard library does, and an example."""

    reason: str
    applies: Callable[[bytes], object]
    source: bytes
    text: str | None


def matches(pattern: bytes) -> Callable[[bytes], object]:
    return re.compile(pattern, re.DOTALL).search


def has_multipart_without_parts(source: bytes) -> bool:
    defects = (
        defect for part in message_from_bytes(source, policy=compat32).walk() for defect in part.defects
    )
    return any(
        isinstance(defect, NoBoundaryInMultipartDefect | StartBoundaryNotFoundDefect) for defect in defects
    )


DIFFERENCES = [
    Difference(
        "Takes the headers below an empty first line for text, but no mail begins with its body.",
        matches(rb"(?:\A|" + EOL + EOL + rb")[ \t]*" + EOL + rb".*" + HEADER),
        b"\nSubject: x\n\ntext",
        "text",
    ),
    Difference(
        "Takes the headers below a line that is no header for text.",
        matches(rb"(?:\A|[\r\n])(?!--|" + HEADER + rb")\S[^\r\n]*" + EOL + FOLDED + HEADER),
        b"Subject: x\nno header\nTo: a@b.example\n\ntext",
        "text",
    ),
    Difference(
        "Takes a name with space before the colon for text.",
        matches(rb"[\w-][ \t]+:"),
        b"Subject : x\n\ntext",
        "text",
    ),
    Difference(
        "Drops an indented first line.",
        matches(NOTHING_BEFORE + rb"[ \t]+\S"),
        b" indented\ntext",
        " indented\ntext",
    ),
    Difference(
        "Drops a first line with From, as an envelope of the mbox format.",
        matches(NOTHING_BEFORE + rb"From "),
        b"From here on\ntext",
        "From here on\ntext",
    ),
    Difference(
        "Takes a delimiter with a colon for a header, when no empty line is above.",
        matches(EOL + rb"--[\w-]*:"),
        b"Content-Type: multipart/mixed; boundary=a:b\n--a:b\n\ntext\n--a:b--",
        "text",
    ),
    Difference(
        "Gives a multipart a string for its parts when the declared boundary is not found.",
        has_multipart_without_parts,
        b"Content-Type: multipart/mixed; boundary=a\n\n--b\n\ntext\n--b--",
        "text",
    ),
    Difference(
        "Ends a multipart at the closing delimiter of an inner multipart with the same boundary.",
        matches(rb'boundary="?(\w)\b.*boundary="?\1\b'),
        b"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/related; boundary=a\n\n"
        b"--a--\n--a\n\ntext\n--a--",
        "text",
    ),
    Difference(
        "Takes the closing delimiter directly below a delimiter for another delimiter.",
        matches(rb"(?:\A|[\r\n])--[^\r\n]*" + EOL + rb"--"),
        b"Content-Type: multipart/mixed; boundary=a\n\n--a\n\ntext\n--a\n--a--\n\nepilogue",
        "text",
    ),
    Difference(
        "Decodes no content whose Content-Transfer-Encoding is folded, or has space at the end.",
        matches(rb"(?i:transfer-encoding):(?:[ \t]*|[^\r\n]*[ \t])" + EOL),
        b"Content-Transfer-Encoding:\n base64\n\ndGV4dA==",
        "text",
    ),
    Difference(
        "Takes words below a content type for a part of the type.",
        matches(rb"Content-Type:[^;\r\n]*" + EOL + rb"[ \t]+\w"),
        b"Content-Type: text/plain\n more\n\ntext",
        "text",
    ),
    Difference(
        "Takes the encoded source of an attached mail for a mail.",
        matches(rb"message/.*(?i:transfer-encoding): *(?:base64|quoted)"),
        b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeA==",
        None,
    ),
    Difference(
        "Ends each line at the first of two carriage returns, and so the headers below the first line.",
        matches(rb"\r\r\n"),
        b"Subject: x\r\r\nTo: a@b.example\r\r\n\r\r\ntext",
        "text",
    ),
]


@pytest.mark.parametrize("difference", DIFFERENCES, ids=[difference.reason for difference in DIFFERENCES])
def test_the_parsers_differ_for_a_reason(difference: Difference) -> None:
    mail = parse_source(difference.source)
    assert difference.applies(difference.source)
    assert mail.text == difference.text
    assert parts_of(mail) != expected(difference.source)


@given(mail_sources)
@example(b"Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\n--b\n\nSubject: x\n\ntext")
def test_lines_in_any_order_are_read_like_by_the_standard_library(source: bytes) -> None:
    assume(not any(difference.applies(source) for difference in DIFFERENCES))
    assert parts_of(parse_source(source)) == expected(source)
