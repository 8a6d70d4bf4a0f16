"""The source of a mail is parsed within bounds, with the structure of broken mail programs."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.decode import Unreadable
from events_app.inbound.message import InboundMessage
from events_app.inbound.mime.bounds import MOST_LEVELS
from tests.support.inbound.sources import parse_source
from tests.support.strategies import mail_sources


@given(st.binary(max_size=300) | mail_sources)
def test_every_part_of_any_source_is_an_inbound_message(source: bytes) -> None:
    for part in parse_source(source).walk():
        assert isinstance(part, InboundMessage)


def nested(levels: int, kind: str = "multipart/mixed; boundary=b{}") -> bytes:
    return b"".join(f"Content-Type: {kind.format(at)}\n\n--b{at}\n".encode() for at in range(levels))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (nested(MOST_LEVELS + 1) + b"\nx", "nests deeper than 100 levels"),
        (nested(20_000), "nests deeper than 100 levels"),
        (b"Content-Type: message/rfc822\n\n" * 50_000, "nests deeper than 100 levels"),
        (nested(1) + b"\n--b0\n\nx" * 2_000, "has more than 1000 parts"),
        (b"Content-Type: message/delivery-status\n\n" + b"a: b\n\n" * 100_000, "has more than 1000 parts"),
        (b"a:\n" * 1_000_000, "headers have more than 1000000 bytes"),
        (nested(1) + (b"\n--b0\nA: " + b"x" * 9_000) * 200, "headers have more than 1000000 bytes"),
    ],
)
def test_a_mail_over_a_limit_is_unreadable(source: bytes, says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        parse_source(source)


def test_a_mail_within_the_limits_is_read() -> None:
    mail = parse_source(nested(MOST_LEVELS) + b"\nthe end")
    assert mail.text == "the end"
    assert len(list(mail.walk())) == MOST_LEVELS + 1


def test_blank_lines_take_no_memory() -> None:
    mail = parse_source(b"Content-Type: message/delivery-status\n\n" + b"\n" * 5_000_000)
    assert mail.get_payload() == []


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_an_encoded_attached_mail_stays_encoded(encoding: str) -> None:
    """No standard allows it, and some programs do it."""
    source = f"Content-Type: message/rfc822\nContent-Transfer-Encoding: {encoding}\n\nU3ViamVjdDogeA=="
    assert parse_source(source.encode()).get_payload() == "U3ViamVjdDogeA=="


def test_a_delivery_status_is_read_as_blocks_of_headers() -> None:
    source = b"Content-Type: message/delivery-status\r\n\r\nA: 1\r\nB: 2\r\n\r\n\r\nC: 3\r\n"
    blocks: Any = parse_source(source).get_payload()
    assert [block.items() for block in blocks] == [[("A", "1"), ("B", "2")], [("C", "3")]]


@pytest.mark.parametrize("head", [b"multipart/mixed", b"multipart/mixed; boundary=a", b"multipart/"])
def test_a_multipart_without_parts_is_read_as_text(head: bytes) -> None:
    """The standard library makes a string of it, and raises when that is to be written."""
    mail = parse_source(b"Content-Type: " + head + b"\n\nno parts\xff\n--a--")
    assert mail.text == "no parts\xff\n--a--"
    assert b"no parts\xff\n--a--" in mail.as_bytes()


def test_a_multipart_is_written_as_it_was_read() -> None:
    head = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n"
    source = head + b"before\r\n--a\r\n\r\none\r\n--a\r\nX: y\r\n\r\ntwo\r\n--a--\r\nafter"
    mail = parse_source(source)
    assert (mail.preamble, mail.epilogue) == ("before", "after")
    assert mail.as_bytes() == source


# --- Broken structure ---


def structure(mail: InboundMessage) -> Any:
    """The content type of a part, or of a multipart with those of its parts."""
    if not mail.is_multipart():
        return mail.get_content_type()
    return mail.get_content_type(), *map(structure, mail.get_payload())


PARTS = """
--{0}
Content-Type: text/plain

hi
--{0}
Content-Type: application/pdf; name=a.pdf
Content-Transfer-Encoding: base64

JVBERg==
--{0}--
"""


def has_both_parts(mail: InboundMessage) -> bool:
    files = [(part.get_filename(), part.get_content_bytes()) for part in mail.attachments]
    return mail.text == "hi" and files == [("a.pdf", b"%PDF")]


BOUNDARIES = [
    ("boundary=----=_Part_1", "----=_Part_1"),
    ("boundary=a:b", "a:b"),
    ("boundary=a/b?c", "a/b?c"),
    ("boundary=a,b; charset=utf-8", "a,b"),
    ("boundary=a b", "a b"),
    ("boundary=a;b", "a;b"),
    ("boundary=a@b(c)d", "a@b(c)d"),
    ('boundary="abc', "abc"),
    ('boundary="abc ', "abc"),
    ('boundary=abc"', "abc"),
    ("boundary='abc'", "abc"),
    ("boundary='abc'", "'abc'"),
    ("boundary='a'b'", "'a'b'"),
    ("boundary=<abc>", "<abc>"),
    ('boundary="abc" junk;', "abc"),
    ('boundary="abc"; charset=utf-8', "abc"),
    ("boundary*=utf-8''a%20b", "a b"),
    ("boundary*0=ab; boundary*1=cd", "abcd"),
    ("boundary=(a note) abc", "abc"),
    ("boundary=abc (a note)", "abc"),
    ("BOUNDARY = abc", "abc"),
    ("boundary=abc; boundary=def", "def"),
    ('boundary="--=_Next\n\tPart"', "--=_NextPart"),
    ('charset="utf-8; boundary=abc', "abc"),
    ('boundary=\\"abc\\"', "abc"),
    ("boundary=é", "é"),
    ("boundary=other", "abc"),
    ("boundary=", "abc"),
    ("", "abc"),
]


@pytest.mark.parametrize("eol", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("is_closed", [True, False])
@pytest.mark.parametrize(("parameters", "boundary"), BOUNDARIES)
def test_parts_are_found_with_a_malformed_boundary(
    parameters: str, boundary: str, is_closed: bool, eol: str
) -> None:
    parts = PARTS.format(boundary)
    parts = parts if is_closed else parts.removesuffix(f"\n--{boundary}--\n")
    source = f"From: a@b.example\nContent-Type: multipart/mixed; {parameters}\n{parts}".replace("\n", eol)
    assert has_both_parts(parse_source(source.encode()))


@pytest.mark.parametrize(
    ("parameter", "line"), [("abc", "--abc --"), ("abc", "--abc\t-- "), ('"abc "', "--abc --")]
)
def test_a_closing_delimiter_may_have_a_space_before_its_dashes(parameter: str, line: str) -> None:
    parts = PARTS.format("abc").replace("--abc--", line) + "epilogue"
    mail = parse_source(f"Content-Type: multipart/mixed; boundary={parameter}\n{parts}".encode())
    assert has_both_parts(mail)
    assert mail.epilogue == "epilogue"


def test_a_content_type_without_a_semicolon_has_a_boundary() -> None:
    assert has_both_parts(
        parse_source(b'Content-Type: multipart/mixed boundary="abc"\n' + PARTS.format("abc").encode())
    )


def test_a_boundary_in_latin_1_is_found() -> None:
    source = b"Content-Type: multipart/mixed; boundary=\xe9\n" + PARTS.format("é").encode("latin-1")
    assert has_both_parts(parse_source(source))


def test_the_declared_boundary_comes_before_any_other() -> None:
    other = "--other\nContent-Type: text/plain\n\nx\n--other--\n"
    source = f"Content-Type: multipart/mixed; boundary=abc\n\n{other}{PARTS.format('abc')}{other}"
    mail = parse_source(source.encode())
    assert has_both_parts(mail)
    assert mail.preamble == other


@pytest.mark.parametrize(
    "content",
    [
        "-- \nAnn\n",
        "----------\nA\n------------\n",
        "--a-b\nno header, and never closed\n",
        "--a--\nclosed before it was opened\n--a\n",
        f"--{'a' * 300}\nx\n--{'a' * 300}--\n",
        "--- a/file\n+++ b/file\n",
    ],
)
def test_lines_that_look_like_delimiters_are_text(content: str) -> None:
    mail = parse_source(f"Content-Type: multipart/mixed; boundary=b\n\nHello.\n{content}".encode())
    assert mail.text == f"Hello.\n{content}"
    assert structure(mail) == ("multipart/mixed", "text/plain")


@pytest.mark.parametrize("content", ["", "\n\n", " \n", "--i--\n", "\n--i--\n\n", "--i\n--i--\n"])
def test_a_multipart_without_content_has_no_part(content: str) -> None:
    inner = f"--o\nContent-Type: multipart/alternative; boundary=i\n\n{content}\n"
    body = "--o\nContent-Type: text/plain\n\nThe body\n--o--\n"
    source = f"Content-Type: multipart/mixed; boundary=o\n\n{inner}{body}"
    mail = parse_source(source.encode())
    assert mail.text == "The body"
    assert structure(mail) == ("multipart/mixed", ("multipart/alternative",), "text/plain")
    assert structure(parse_source(mail.as_bytes())) == structure(mail)
    assert parse_source(mail.as_bytes()).text == "The body"


@pytest.mark.parametrize("preamble", ["", "This is a multi-part message in MIME format.\n"])
@pytest.mark.parametrize("closing", ["--b--\n\n--b--\n", "--b--\n", ""])
def test_a_multipart_may_have_the_boundary_of_the_multipart_around_it(preamble: str, closing: str) -> None:
    bodies = "--b\nContent-Type: text/plain\n\nhi\n--b\nContent-Type: text/html\n\n<p>\n"
    inner = f"--b\nContent-Type: multipart/alternative; boundary=b\n\n{preamble}{bodies}"
    file = "--b--\n--b\nContent-Type: application/pdf\n\n%PDF\n"
    source = f"Content-Type: multipart/mixed; boundary=b\n\n{inner}{file}{closing}"
    mail = parse_source(source.encode())
    for each in (mail, parse_source(mail.as_bytes())):
        assert (each.text, each.html) == ("hi", "<p>")
        assert [part.get_content_bytes().strip() for part in each.attachments] == [b"%PDF"]
        assert structure(each) == (
            "multipart/mixed",
            ("multipart/alternative", "text/plain", "text/html"),
            "application/pdf",
        )


def test_a_multipart_with_the_boundary_of_the_outermost_multipart_hides_no_text() -> None:
    inner = "--r\nContent-Type: multipart/alternative; boundary=b\n\nMIME\n"
    related = f"--b\nContent-Type: multipart/related; boundary=r\n\n{inner}"
    source = f"Content-Type: multipart/mixed; boundary=b\n\n{related}{PARTS.format('b')}"
    assert has_both_parts(parse_source(source.encode()))


@pytest.mark.parametrize("eol", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "source",
    [
        "From: a@b.example\nthis line is no header\nTo: c@d.example\nSubject: hi\n\nbody",
        "From: a@b.example\nno header\n more of it\nSubject: hi\n\nbody",
        "From: a@b.example\nno header\nX-One: 1\nno header\nSubject: hi\n\nbody",
        "From: a@b.example\nno header\nneither\nTo: c@d.example\nSubject: hi\n\nbody",
        "From: a@b.example\n1\n2\n3\n4\n5\nTo: c@d.example\n more\nOdd: x\nSubject: hi\n\nbody",
        "From: a@b.example\nno header\nPrecedence: bulk\nSubject: hi\n\nbody",
        "From: a@b.example\n>From c@d.example Mon\nSubject: hi\n\nbody",
        "From: a@b.example\nFrom c@d.example Mon\nSubject: hi\n\nbody",
        "From: a@b.example\n: no name\nSubject: hi\n\nbody",
        "From: a@b.example\nBetröff: x\nSubject: hi\n\nbody",
        "From: a@b.example\nSub\0ject: x\nSubject: hi\n\nbody",
        "From: a@b.example\nX: a\0b\nSubject: hi\n\nbody",
        "From: a@b.example\nTwo words: x\nSubject: hi\n\nbody",
        "From: a@b.example\nno header\nSubject : hi\n\nbody",
        "From : a@b.example\nSubject \t: hi\n\nbody",
        "\ufeffFrom: a@b.example\nSubject: hi\n\nbody",
        "\0\0From: a@b.example\nSubject: hi\n\nbody",
        " From: a@b.example\nSubject: hi\n\nbody",
        " \n\tFrom: a@b.example\nSubject: hi\n\nbody",
        "\n\nFrom: a@b.example\nSubject: hi\n\nbody",
        "From c@d.example Mon Jun  1\nFrom: a@b.example\nSubject: hi\n\nbody",
        "From c@d.example Mon Jun  1\n>From e@f.example Mon\nFrom: a@b.example\nSubject: hi\n\nbody",
        "Microsoft Mail Internet Headers Version 2.0\nFrom: a@b.example\nSubject: hi\n\nbody",
    ],
)
def test_headers_are_read_around_lines_that_are_no_headers(source: str, eol: str) -> None:
    encoded = source.replace("\n", eol).encode()
    attached = parse_source(b"Content-Type: message/rfc822\n\n" + encoded)
    for mail in (parse_source(encoded), attached.get_payload(0)):
        assert (str(mail.from_email), mail.subject, mail.text) == ("a@b.example", "hi", "body")
    assert attached.get_content_bytes() == encoded


@pytest.mark.parametrize("start", ["", "\n", "\ufeff", "no header\n"])
def test_a_first_header_with_an_unusual_name_is_kept(start: str) -> None:
    mail = parse_source(f"{start}Received: x\nOdd: y\nSubject: z\n\n".encode())
    assert mail.keys() == ["Received", "Odd", "Subject"]
    assert parse_source(b"Odd: y\nSubject: z\n\n").keys() == ["Odd", "Subject"]


@pytest.mark.parametrize(
    "head",
    [
        "Content-Type : text/html",
        " Content-Type: text/html",
        "X: y\nno header\nContent-Type: text/html",
        " \nContent-Type: text/html",
    ],
)
def test_headers_of_parts_are_read_around_lines_that_are_no_headers(head: str) -> None:
    source = f"Content-Type: multipart/mixed; boundary=b\n\n--b\n{head}\n\n<p>\n--b--\n"
    assert parse_source(source.encode()).html == "<p>"


@pytest.mark.parametrize(
    "text",
    [
        "hello world, this is text",
        "hello world\nNote: this is text",
        "hello\nworld\nTo: be sure\n",
        "hello\nworld\nTo: be sure\n\nmore",
        "1\n2\n3\n4\n5\n6\nTo: be\nDate: sure\n\nmore",
        "Dear Bob,\nSubject: your invoice\n\npay",
        "Dear Bob,\nthis is\nsubject : your invoice\nDate: today\n\npay",
        "hello\n\nTo: be sure\n",
        "From here on\nthis is text",
        " indented",
        "--b",
    ],
)
def test_a_body_without_an_empty_line_before_it_is_text(text: str) -> None:
    head = "Subject: x\n" * (not text.startswith(" "))
    mail = parse_source(f"{head}{text}".encode())
    assert (mail.keys(), mail.text) == (["Subject"] if head else [], text)


@pytest.mark.parametrize(
    "text", ["hello\nTo: be sure", " indented", " Note: x", "Two words: x", "From here on", ""]
)
def test_a_part_without_headers_and_an_empty_line_is_text(text: str) -> None:
    source = f"Content-Type: multipart/mixed; boundary=b\n\n--b\n{text}\n\nmore\n--b--"
    assert parse_source(source.encode()).text == f"{text}\n\nmore".removeprefix("\n")


@pytest.mark.parametrize("boundary", ["b", "b:c"])
def test_a_delimiter_below_the_headers_is_no_header(boundary: str) -> None:
    head = f'Content-Type: multipart/mixed; boundary="{boundary}"'
    mail = parse_source((head + PARTS.format(boundary)).encode())
    assert has_both_parts(mail)
    assert mail.keys() == ["Content-Type"]


def test_two_carriage_returns_end_a_line_once() -> None:
    source = ("Content-Type: multipart/mixed; boundary=abc\n" + PARTS.format("abc")).replace("\n", "\r\r\n")
    assert has_both_parts(parse_source(source.encode()))


@pytest.mark.parametrize("at", range(13))
def test_line_endings_may_be_mixed(at: int) -> None:
    lines = ("Content-Type: multipart/mixed; boundary=abc\n" + PARTS.format("abc")).splitlines()
    ends = ("\r\n", "\n", "\r")
    source = "".join(
        line + ends[(place + at) * (place + 1) % 3 if line else 0] for place, line in enumerate(lines)
    )
    mail = parse_source(source.encode())
    assert [part.get_content_type() for part in mail.walk()] == [
        "multipart/mixed",
        "text/plain",
        "application/pdf",
    ]
    assert mail.text == "hi"
