"""Any header can be read, and is written unchanged."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.inbound.message import InboundMessage
from events_app.inbound.text.headers import LONGEST, MOST_SEPARATORS
from tests.support.inbound.sources import parse_source
from tests.support.strategies import header_values

NAMES = ("From", "To", "Subject", "Date", "Message-ID", "Content-Type", "Content-Disposition", "MIME-Version")


def message(header: str, value: str | bytes) -> InboundMessage:
    data = value.encode() if isinstance(value, str) else value
    return parse_source(header.encode() + b": " + data + b"\n\nbody")


@given(st.sampled_from(NAMES), header_values | st.text(max_size=40))
def test_any_header_can_be_read_and_written(name: str, value: str) -> None:
    mail = message(name, value)
    for found, text in mail.items():
        assert isinstance(found, str)
        assert isinstance(str(text), str)
    mail.as_bytes()
    mail.as_string()
    mail.get_filename()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("To", "a@["),
        ("To", "(" * 5000),
        ("To", "=?utf-8?q?a=0Ab?= <x@y.example>"),
        ("To", "x" * LONGEST * 2),
    ],
)
def test_a_header_that_cannot_be_parsed_stays_text(name: str, value: str) -> None:
    assert message(name, value)[name] == value


def test_a_header_of_separators_is_not_parsed() -> None:
    value = "," * (MOST_SEPARATORS + 1)
    assert not hasattr(message("To", value)["To"], "addresses")


def test_a_header_is_parsed_once() -> None:
    mail = message("To", "a@b.example")
    assert mail["To"] is mail["to"]


@pytest.mark.parametrize("data", ["Grüße".encode(), "Grüße".encode("windows-1252")])
def test_bytes_that_are_not_ascii_are_read(data: bytes) -> None:
    assert message("Subject", data)["Subject"] == "Grüße"


@pytest.mark.parametrize("charset", ["koi8-r", "windows-1251", "shift_jis", "big5", "euc-kr", "iso-2022-jp"])
@pytest.mark.parametrize("structure", ["{}", "multipart/mixed; boundary=a\n\n--a\nContent-Type: {}"])
def test_headers_of_bytes_have_the_charset_of_the_mail(charset: str, structure: str) -> None:
    # The second bytes of these characters in Shift_JIS and Big5 are "\\", special in addresses.
    text = {"shift_jis": "ソИ", "iso-2022-jp": "ソИ", "big5": "功日"}.get(charset, "ИЯ")
    source = (
        f"From: {text} <ann@a.example>\nTo: {text}, b@b.example\nSubject: {text}\nX-Other: {text}\n"
        f"Content-Disposition: attachment; filename={text}.txt\n"
        f"Content-Type: {structure.format(f'text/plain; charset={charset}')}\n\nx"
    ).encode(charset)
    mail = parse_source(source)
    assert mail["Subject"] == mail.subject == mail["X-Other"] == text
    assert [str(mail.from_email), mail.to[-1].addr_spec] == [f"{text} <ann@a.example>", "b@b.example"]
    assert mail.get_filename() == f"{text}.txt"
    assert mail.as_bytes().partition(b"\n\n")[0] == source.partition(b"\n\n")[0]


@pytest.mark.parametrize(
    ("charset", "data", "expected"),
    [
        ("koi8-r", "Grüße".encode(), "Grüße"),
        ("koi8-r", "Gr\ufffd".encode(), "Gr\ufffd"),
        ("koi8-r", b"=?utf-8?q?a?= \xfc", "a ü"),
        *[
            (label, b"\xfc", "ü")
            for label in ("", "utf-8", "us-ascii", "utf-16", "utf-7", "cp037", "hz", "x")
        ],
        ("euc-jp", b"\xfc.", "ü."),
    ],
)
def test_bytes_in_no_charset_of_the_mail_are_read(charset: str, data: bytes, expected: str) -> None:
    source = b"Content-Type: text/plain; charset=" + charset.encode() + b"\nSubject: " + data + b"\n\nx"
    assert parse_source(source).subject == expected


def test_iso_2022_jp_without_a_label_is_read() -> None:
    mail = parse_source("From: ソИ <ann@a.example>\nSubject: ソИ\n\nソИ".encode("iso-2022-jp"))
    assert (str(mail.from_email), mail.subject, mail.text) == ("ソИ <ann@a.example>", "ソИ", "ソИ")


def test_a_file_name_of_bytes_has_the_charset_of_the_part_else_of_the_mail() -> None:
    lines = (
        b"Content-Type: multipart/mixed; boundary=a\n",
        b"Content-Type: text/plain; charset=koi8-r\n\nx",
        b"Content-Type: application/pdf; name=\xc9.pdf\n\nx",
        b"Content-Type: text/csv; charset=windows-1251; name=\xe8.csv\n\nx",
    )
    mail = parse_source(b"\n--a\n".join(lines))
    assert [file.get_filename() for file in mail.attachments] == ["и.pdf", "и.csv"]


@pytest.mark.parametrize("eol", ["\n", "\r\n"])
def test_a_mail_is_written_as_it_was_read(eol: str) -> None:
    lines = (
        *("Received: from a.example", "\tby b.example;  Thu, 12 Feb 2026", f"Subject: {'x' * 200}"),
        *("From: =?utf-8?q?M=C3=BC?= <m@x.example>", "To: a@[", "", "a body", ""),
    )
    source = eol.join(lines).encode() + b"\xff"
    assert parse_source(source).as_bytes() == source


def test_a_message_can_be_copied() -> None:
    mail = parse_source(b"To: a@b.example\nContent-Type: text/plain\n\nbody")
    assert mail.to
    for twin in (copy.deepcopy(mail), pickle.loads(pickle.dumps(mail))):
        assert twin.as_bytes() == mail.as_bytes()
        assert twin.to == mail.to


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"=?iso-8859-1?Q?Die_Fr\xf6sche?=", "Die Frösche"),
        (b"Gr\xfc\xdfe =?utf-8?q?aus_K=C3=B6ln?=", "Grüße aus Köln"),
        (b"=?utf-8?q?M=C3?=\n =?utf-8?q?=BC?=", "Mü"),
        (b"a =?x?= b", "a =?x?= b"),
    ],
)
def test_a_header_without_structure_is_text_with_decoded_words(data: bytes, expected: str) -> None:
    mail = message("Subject", data)
    assert mail["Subject"] == mail.subject == expected
    assert message("X-Other", data)["X-Other"] == expected


def test_a_long_header_without_structure_has_its_words_decoded() -> None:
    assert message("Subject", "=?utf-8?q?=C3=BC?= " * LONGEST)["Subject"] == "ü" * LONGEST
