"""Any header can be read, and is written unchanged."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.inbound.message import InboundMessage
from events_app.inbound.parse import mime
from events_app.inbound.text.headers import LONGEST, MOST_SEPARATORS, file_name, one_line, words
from tests.support.strategies import header_values

NAMES = ("From", "To", "Subject", "Date", "Message-ID", "Content-Type", "Content-Disposition", "MIME-Version")


def message(header: str, value: str | bytes) -> InboundMessage:
    data = value.encode() if isinstance(value, str) else value
    return mime.parse(header.encode() + b": " + data + b"\n\nbody")


@given(st.sampled_from(NAMES), header_values | st.text(max_size=40))
def test_any_header_can_be_read_and_written(name: str, value: str) -> None:
    mail = message(name, value)
    for found, text in mail.items():
        assert isinstance(found, str)
        assert isinstance(str(text), str)
    mail.as_bytes()
    mail.as_string()
    file_name(mail)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("To", "a@["),
        ("To", "(" * 5000),
        ("To", "=?utf-8?q?a=0Ab?= <x@y.example>"),
        ("Subject", "x" * LONGEST * 2),
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


@pytest.mark.parametrize("eol", ["\n", "\r\n"])
def test_a_mail_is_written_as_it_was_read(eol: str) -> None:
    lines = (
        *("Received: from a.example", "\tby b.example;  Thu, 12 Feb 2026", f"Subject: {'x' * 200}"),
        *("From: =?utf-8?q?M=C3=BC?= <m@x.example>", "To: a@[", "", "a body", ""),
    )
    source = eol.join(lines).encode() + b"\xff"
    assert mime.parse(source).as_bytes() == source


def test_a_message_can_be_copied() -> None:
    mail = mime.parse(b"To: a@b.example\nContent-Type: text/plain\n\nbody")
    assert mail.to
    for twin in (copy.deepcopy(mail), pickle.loads(pickle.dumps(mail))):
        assert twin.as_bytes() == mail.as_bytes()
        assert twin.to == mail.to


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('attachment; filename="a b.txt"', "a b.txt"),
        ("attachment; filename=a b [1].txt; x=y", "a b [1].txt"),
        ("attachment; filename=ü b.txt", "ü b.txt"),
        ('attachment; x="y"; filename=it\'s a b.txt', "it's a b.txt"),
        ('attachment; filename="x; name=y; filename=z.txt"', "x; name=y; filename=z.txt"),
        ("attachment; name=x; filename=y", "y"),
        ('attachment; filename="a;b=c.txt"', "a;b=c.txt"),
        ('attachment; filename="a \\"b\\".txt"', 'a "b".txt'),
        ('attachment; filename="one\r\n\ttwo.txt"', "one\ttwo.txt"),
        ("attachment; filename*=utf-8''%C3%BC%0D%0Ab.txt", "ü b.txt"),
        ("attachment; filename*=windows-1252''%FC.txt", "ü.txt"),
        ("attachment; filename*0*=utf-8''%C3; filename*1*=%BC.txt", "ü.txt"),
        ('attachment; filename="=?utf-8?q?=C3=BC?=.txt"', "ü.txt"),
        ("attachment; filename==?utf-8?q?=C3=BC.txt?=", "ü.txt"),
        ('attachment; filename="../../etc/passwd"', "../../etc/passwd"),
        ("attachment", None),
        ("", None),
    ],
)
def test_a_file_name_is_read_in_every_encoding(value: str, expected: str | None) -> None:
    assert file_name(message("Content-Disposition", value)) == expected


def test_the_name_in_content_type_is_the_fallback_file_name() -> None:
    assert file_name(message("Content-Type", 'text/plain; name="a.txt"')) == "a.txt"
    both = b'Content-Disposition: inline; filename="b"\nContent-Type: text/plain; name="a"\n\n'
    assert file_name(mime.parse(both)) == "b"


def test_a_file_name_in_an_overlong_header_is_read() -> None:
    value = f'attachment; {"x=y; " * MOST_SEPARATORS}filename="a.txt"'
    assert file_name(message("Content-Disposition", value)) == "a.txt"


@pytest.mark.parametrize(
    ("text", "expected"), [(" a\r\nb\rc\nd ", "a b c d"), ("a\0b\ud800", "ab\ufffd"), ("a\udcc3\udcbc", "aü")]
)
def test_one_line_joins_the_lines_of_a_text(text: str, expected: str) -> None:
    assert one_line(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=?utf-8?q?M=C3=BC?= x", "Mü x"),
        ("=?utf-8?q?a=0Ab?=", "a b"),
        ("=?x?q?=FF?=", "\ufffd"),
        ("=?", "=?"),
    ],
)
def test_encoded_words_are_decoded(text: str, expected: str) -> None:
    assert words(text) == expected
