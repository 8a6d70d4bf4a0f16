"""A part of a mail: its headers, its content, and its file."""

import copy
import pickle

import pytest
from django.core.files.base import ContentFile
from hypothesis import given
from hypothesis import strategies as st

from events_app.inbound.message import InboundMessage
from events_app.inbound.part import LONGEST_NAME
from tests.support.inbound.sources import contents, parse_lines, parse_source
from tests.support.strategies import mail_sources


@pytest.mark.parametrize(
    ("outer", "eol"),
    [(b"\n", b"\n"), (b"\r\n", b"\r\n"), (b"\n", b"\r\n"), (b"\r\n", b"\n"), (b"\r", b"\r")],
)
@pytest.mark.parametrize(
    "content_type",
    ["message/rfc822", "message/global", "message/partial; id=a; number=1", "message/delivery-status"],
)
@pytest.mark.parametrize(
    "lines",
    [
        [b"From: a@example.org", b"X-Foo:bar", b"X:  y\t", b"Subject: a", b"\tb", b"", b"body", b""],
        [b"Subject: \xfc", b"Content-Transfer-Encoding: 8bit", b"", b"\xff\0"],
        [
            b"From ann@example.org Mon Jun  1",
            b">From x",
            b"Subject : x",
            b"no header",
            b"To: a@b.example",
            b"",
        ],
        [b"", b" ", b"no headers at all", b"", b""],
        [
            b"Content-Type: multipart/mixed; boundary=c",
            *(b"", b"before", b"--c  ", b"", b"one", b"--c", b"Content-Type: message/rfc822", b""),
            *(b"A:b", b"", b"inside", b"--c--", b"after", b"", b""),
        ],
        [b"Content-Type: multipart/mixed; boundary=c", b"", b"no parts"],
        [b""],
    ],
)
def test_an_attached_mail_is_its_source(
    outer: bytes, eol: bytes, content_type: str, lines: list[bytes]
) -> None:
    source = eol.join(lines)
    part = [
        b"--b",
        b"Content-Type: " + content_type.encode(),
        b"Content-Disposition: attachment",
        b"",
        source,
    ]
    data = outer.join(
        [b"Content-Type: multipart/mixed; boundary=b", b"", *part, b"--b", b"", b"x", *part, b"--b--"]
    )
    attached = parse_source(data).attachments
    assert contents(attached) == [source, source]
    assert [part.as_uploaded_file().read() for part in attached] == [source, source]


@given(st.binary(max_size=200) | mail_sources)
def test_any_attached_bytes_are_kept(source: bytes) -> None:
    head = b"Content-Type: multipart/mixed; boundary=outermost\r\n\r\n--outermost\r\n"
    data = head + b"Content-Type: message/rfc822\r\n\r\n" + source + b"\r\n--outermost--"
    assert contents(parse_source(data).attachments) == [source]


def test_a_mail_in_an_attached_mail_is_its_source() -> None:
    innermost = b"A:b\n\ntext"
    inner = b"C:d\nContent-Type: message/rfc822\n\n" + innermost
    digest = b"Content-Type: multipart/digest; boundary=b\n\n--b\n\n" + inner + b"\n--b\n\nE:f\n\n\n--b--"
    first, second = parse_source(digest).attachments
    assert contents([first, second]) == [inner, b"E:f\n\n"]
    assert first.get_payload(0).get_content_bytes() == innermost
    assert second.get_payload(0).keys() == ["E"]


@pytest.mark.parametrize(
    ("encoding", "encoded"), [("base64", b"QTpiCgp0ZXh0"), ("quoted-printable", b"A:b=0A\n=\ntext")]
)
def test_an_encoded_attached_mail_is_decoded(encoding: str, encoded: bytes) -> None:
    head = f"Content-Type: message/rfc822\nContent-Transfer-Encoding: {encoding}\n\n".encode()
    assert contents(parse_source(head + encoded).attachments) == [b"A:b\n\ntext"]


def test_the_source_of_an_attached_mail_is_copied_with_the_part() -> None:
    attached = parse_source(b"Content-Type: message/rfc822\n\nA:b\n\ntext")
    for twin in (copy.deepcopy(attached), pickle.loads(pickle.dumps(attached))):
        assert twin.get_content_bytes() == b"A:b\n\ntext"


def test_a_new_payload_of_an_attached_mail_has_no_source() -> None:
    attached = parse_source(b"Content-Type: message/rfc822\n\nA:b\n\ntext")
    attached.get_payload(0).replace_header("A", "c")
    assert attached.get_content_bytes() == b"A:b\n\ntext"
    assert attached.as_bytes() == b"Content-Type: message/rfc822\n\nA: c\n\ntext"
    attached.set_payload(attached.get_payload())
    assert attached.get_content_bytes() == b"A: c\n\ntext"


@pytest.mark.parametrize(
    ("value", "content_type"),
    [
        ("text/html charset=utf-8", "text/html"),
        ("Text/HTML, charset=utf-8", "text/html"),
        ("text/html\n charset=utf-8", "text/html"),
        ("text/html(a comment); charset=utf-8", "text/html"),
        ("text/html;charset=utf-8", "text/html"),
        ("text/html", "text/html"),
        ("text/html charset=a/b", "text/html"),
        ('"text/html"', "text/html"),
        ('"Text/HTML"; charset="utf-8"', "text/html"),
        ('"text/html; charset=utf-8"', "text/html"),
        ("text/html/x", "text/plain"),
        ("html", "text/plain"),
        ("", "text/plain"),
    ],
)
def test_a_content_type_ends_without_a_semicolon_too(value: str, content_type: str) -> None:
    part = parse_lines(f"Content-Type: {value}", "", "ü")
    assert part.get_content_type() == content_type
    assert (part.html if content_type == "text/html" else part.text) == "ü"


@pytest.mark.parametrize(
    ("value", "disposition"),
    [
        ("attachment; filename=a", "attachment"),
        ("Attachment", "attachment"),
        ("attachment filename=a", "attachment"),
        ("attachment, filename=a", "attachment"),
        ("inline(a comment)", "inline"),
        ("attachment" + ";a=b" * 100_000, "attachment"),
        ("whatever\n;filename=a", "whatever"),
        ('"attachment"; filename=a', "attachment"),
        ("; filename=a", None),
        ("filename=a", None),
        ('filename = "a"', None),
        ("", None),
    ],
)
def test_a_disposition_ends_without_a_semicolon_too(value: str, disposition: str | None) -> None:
    assert parse_lines(f"Content-Disposition: {value}", "").get_content_disposition() == disposition


def test_types_and_dispositions_need_no_structure() -> None:
    """The structure takes ten times as long, and 5 kB a header."""
    part = parse_lines("Content-Type: text/html; charset=utf-8", "Content-Disposition: inline", "")
    assert (part.get_content_type(), part.get_content_disposition()) == ("text/html", "inline")
    assert not any(hasattr(source, "read") for _, source in part.raw_items())


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a.txt", "a.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\dir\\a.txt", "a.txt"),
        ("a/", "attachment"),
        ("..", "attachment"),
        ("", "attachment"),
        (" a . ", "a"),
        ("a\t\x7fb\u202egpj.exe", "abgpj.exe"),
        ("größe.csv", "größe.csv"),
    ],
)
def test_an_uploaded_file_has_a_safe_name(name: str, safe: str) -> None:
    part = InboundMessage()
    part.add_header("Content-Disposition", "attachment", filename=name)
    part.set_payload("content")
    file = part.as_uploaded_file()
    assert (file.name, file.read(), file.content_type) == (safe, b"content", "text/plain")


def test_a_file_name_keeps_its_path_and_loses_its_line_breaks() -> None:
    name = "attachment; filename*=utf-8''..%2F%0Aa%22b"
    assert parse_lines(f"Content-Disposition: {name}", "").get_filename() == '../ a"b'
    assert parse_lines("").get_filename("none") == "none"
    assert parse_lines("").get_filename() is None


def test_an_uploaded_file_with_a_long_name_is_shortened() -> None:
    file = parse_lines(f'Content-Disposition: attachment; filename="{"n" * 400}.txt"', "").as_uploaded_file()
    assert file.name is not None
    assert len(file.name) <= 255
    assert isinstance(file, ContentFile) or file.name.endswith(".txt")


@pytest.mark.parametrize(
    ("label", "charset"), [("ISO-8859-1", "cp1252"), ("us-ascii", "ascii"), ("cp-850", "cp850"), ("x", None)]
)
def test_the_charset_of_a_part_is_pythons_name(label: str, charset: str | None) -> None:
    assert parse_lines(f"Content-Type: text/plain; charset={label}", "").get_content_charset() == charset


def test_get_content_text_accepts_a_charset_and_errors() -> None:
    part = parse_source("Content-Type: text/plain; charset=utf-8\n\nü".encode())
    assert part.get_content_text("cp1252") == "Ã¼"
    assert part.get_content_text(errors="strict") == "ü"
    assert parse_source(b"\n\xff").get_content_text(errors="replace") == "\ufffd"
    with pytest.raises(UnicodeDecodeError):
        parse_source(b"\n\xff").get_content_text(errors="strict")


@pytest.mark.parametrize("label", ["shift_jis", "windows-874", "x-unheard-of", "a\0b", "utf-8", "utf-16", ""])
@pytest.mark.parametrize(
    "kind", ["text/plain", "image/png", "message/rfc822\nContent-Transfer-Encoding: base64"]
)
@pytest.mark.parametrize("content", [b"9 \x80 gr\xfc\x83\\ \n", "größe".encode(), b"=FC\n"])
def test_a_mail_is_written_as_text_in_any_charset(label: str, kind: str, content: bytes) -> None:
    head = f'Subject: größe\nContent-Type: {kind}; charset="{label}"\nContent-ID: <1>\n\n'
    part = parse_source(head.encode() + content)
    source = part.as_bytes()
    text = str(part)
    text.encode()
    again = parse_source(text.encode())
    assert again.subject == "größe"
    assert again.get_content_bytes() == part.get_content_bytes()
    assert part.as_bytes() == source
    outer = parse_source(b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" + source + b"\n--b--\n")
    (inner,) = parse_source(outer.as_string().encode()).iter_parts()
    assert isinstance(inner, InboundMessage)
    assert inner.get_content_bytes() == part.get_content_bytes()
    if content.isascii():
        assert text == source.decode().replace("\0", "")


def test_a_part_without_a_content_type_is_written_as_text() -> None:
    assert parse_source(parse_source(b"\n\xfc").as_string().encode()).get_content_bytes() == b"\xfc"


def test_the_text_follows_changes_of_the_part() -> None:
    part = parse_source("Content-Type: text/plain; charset=utf-8\n\nü".encode())
    texts = [part.text]
    part.replace_header("Content-Type", "text/plain; charset=cp1252")
    texts.append(part.text)
    part.set_payload("=C3=BC")
    texts.append(part.text)
    part["Content-Transfer-Encoding"] = "quoted-printable"
    texts.append(part.text)
    del part["Content-Type"]
    texts.append(part.text)
    assert texts == ["ü", "Ã¼", "=C3=BC", "Ã¼", "ü"]
    assert part.text is copy.deepcopy(part).text


@pytest.mark.parametrize("name", ["報" * 90 + ".pdf", "é" * 200, "a" * 300 + "." + "b" * 300, ".pdf" * 80])
def test_an_uploaded_file_name_fits_a_file_system(name: str) -> None:
    part = InboundMessage()
    part.add_header("Content-Disposition", "attachment", filename=name)
    safe = part.as_uploaded_file().name or ""
    assert 0 < len(safe.encode()) <= LONGEST_NAME
    assert safe.endswith(".pdf") == name.endswith(".pdf")


def test_a_header_with_too_many_parameters_is_read_without_structure() -> None:
    part = InboundMessage()
    part.set_raw("Content-Type", "text/plain" + ";a=b" * 240)
    assert part.get_content_type() == "text/plain"
    assert part.get_content_charset() is None


@pytest.mark.parametrize("content_type", ["message/rfc822", "message/delivery-status"])
@pytest.mark.parametrize("encoding", ["base64", '"Base64";'])
@pytest.mark.parametrize("encoded", [b"U3ViamVjdDogYQ==\n", b"not base64: \xe9\xff\n"])
def test_a_message_part_with_a_transfer_encoding_is_written_as_it_came(
    content_type: str, encoding: str, encoded: bytes
) -> None:
    head = f"Content-Type: {content_type}\nContent-Transfer-Encoding: {encoding}\n\n".encode()
    source = b"Content-Type: multipart/report; boundary=b\n\n--b\n" + head + encoded + b"\n--b--\n"
    assert parse_source(source).as_bytes() == source
    attached = parse_source(b"Content-Type: message/rfc822\n\n" + source)
    assert attached.get_content_bytes() == source
