"""The source of a mail is parsed like by the standard library, but within bounds."""

from email import message_from_bytes
from email.errors import NoBoundaryInMultipartDefect, StartBoundaryNotFoundDefect
from email.message import Message
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events_app.decode import Unreadable
from events_app.inbound.message import POLICY, InboundMessage
from events_app.inbound.parse import mime
from tests.support.strategies import mail_sources

NoParts = (NoBoundaryInMultipartDefect, StartBoundaryNotFoundDefect)


def shape(mail: "Message[Any, Any]") -> tuple[Any, ...]:
    head = (mail.get_content_type(), mail.items())
    if any(isinstance(each, NoParts) for each in mail.defects):
        return (*head, "no parts")
    payload: Any = mail._payload  # type: ignore[attr-defined]
    if mail.is_multipart():
        return (*head, [found for part in payload if (found := shape(part))[1:] != ([], "")])
    return (*head, payload.rstrip("\r\n"))


@given(mail_sources)
@example(b"Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\n--b\n\nSubject: x\n\ntext")
def test_parts_equal_those_of_the_standard_library(source: bytes) -> None:
    assert shape(mime.parse(source)) == shape(message_from_bytes(source, policy=POLICY))


@given(st.binary(max_size=300) | mail_sources)
def test_every_part_of_any_source_is_an_inbound_message(source: bytes) -> None:
    for part in mime.parse(source).walk():
        assert isinstance(part, InboundMessage)


def nested(levels: int, kind: str = "multipart/mixed; boundary=b{}") -> bytes:
    return b"".join(f"Content-Type: {kind.format(at)}\n\n--b{at}\n".encode() for at in range(levels))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (nested(mime.MOST_LEVELS + 1) + b"\nx", "nests deeper than 100 levels"),
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
        mime.parse(source)


def test_a_mail_within_the_limits_is_read() -> None:
    mail = mime.parse(nested(mime.MOST_LEVELS) + b"\nthe end")
    assert mail.text == "the end"
    assert len(list(mail.walk())) == mime.MOST_LEVELS + 1


def test_blank_lines_take_no_memory() -> None:
    mail = mime.parse(b"Content-Type: message/delivery-status\n\n" + b"\n" * 5_000_000)
    assert mail.get_payload() == []


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_an_encoded_attached_mail_stays_encoded(encoding: str) -> None:
    """No standard allows it, and some programs do it."""
    source = f"Content-Type: message/rfc822\nContent-Transfer-Encoding: {encoding}\n\nU3ViamVjdDogeA=="
    assert mime.parse(source.encode()).get_payload() == "U3ViamVjdDogeA=="


def test_a_delivery_status_is_read_as_blocks_of_headers() -> None:
    source = b"Content-Type: message/delivery-status\r\n\r\nA: 1\r\nB: 2\r\n\r\n\r\nC: 3\r\n"
    blocks: Any = mime.parse(source).get_payload()
    assert [block.items() for block in blocks] == [[("A", "1"), ("B", "2")], [("C", "3")]]


@pytest.mark.parametrize("head", [b"multipart/mixed", b"multipart/mixed; boundary=a", b"multipart/"])
def test_a_multipart_without_parts_is_read_as_text(head: bytes) -> None:
    """The standard library makes a string of it, and raises when that is to be written."""
    mail = mime.parse(b"Content-Type: " + head + b"\n\nno parts\xff\n--a--")
    assert mail.text == "no parts\xff\n--a--"
    assert b"no parts\xff\n--a--" in mail.as_bytes()


def test_a_multipart_is_written_as_it_was_read() -> None:
    head = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n"
    source = head + b"before\r\n--a\r\n\r\none\r\n--a\r\nX: y\r\n\r\ntwo\r\n--a--\r\nafter"
    mail = mime.parse(source)
    assert (mail.preamble, mail.epilogue) == ("before", "after")
    assert mail.as_bytes() == source
