"""Mails that users' tests make, with django-anymail's constructors."""

import binascii
from base64 import b64encode
from email.headerregistry import Address
from io import BytesIO, StringIO
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from hypothesis import given
from hypothesis import strategies as st

from events_app.decode import Unreadable
from events_app.inbound.message import AnymailInboundMessage, InboundMessage
from events_app.signals import AnymailInboundEvent
from tests.support.inbound.forms import MESSAGE_ATTRIBUTES
from tests.support.inbound.sources import parse_source
from tests.support.strategies import mail_sources

construct = AnymailInboundMessage.construct
construct_attachment = AnymailInboundMessage.construct_attachment

PICTURE = construct_attachment("image/png", b"\x89PNG", filename="a.png", content_id="pic@example.org")
MAIL = b"Subject: inner\r\nX:  y\r\n\r\ninner body\r\n"


def test_a_mail_has_its_arguments_as_attributes() -> None:
    message = construct(
        from_email="Zoë <zoe@example.org>",
        to="desk@example.com, b@example.com",
        cc="c@example.com",
        bcc="d@example.com",
        subject="Grüße – 9 €",
        headers={"Message-ID": "<1@example.org>", "References": "<0@example.org>"},
        text="Guten Tag\r\n",
        html='<p>Guten Tag <img src="cid:pic@example.org">',
        attachments=[PICTURE, construct_attachment("text/csv", "ü;1", filename="ü.csv")],
    )
    for mail in (message, parse_source(message.as_bytes())):
        assert str(mail.from_email) == "Zoë <zoe@example.org>"
        assert [address.addr_spec for address in (*mail.to, *mail.cc, *mail.bcc)] == [
            "desk@example.com",
            "b@example.com",
            "c@example.com",
            "d@example.com",
        ]
        assert mail.subject == "Grüße – 9 €"
        assert (mail.message_id, mail.references) == ("<1@example.org>", ["<0@example.org>"])
        assert mail.text == "Guten Tag\r\n"
        assert mail.html == '<p>Guten Tag <img src="cid:pic@example.org">'
        assert mail.content_id_map["pic@example.org"].get_content_bytes() == b"\x89PNG"
        (csv,) = mail.attachments
        assert (csv.get_filename(), csv.get_content_type(), csv.get_content_text()) == (
            *("ü.csv", "text/csv"),
            "ü;1",
        )


def test_arguments_replace_raw_headers_and_other_headers_are_added() -> None:
    message = construct(
        raw_headers="From: a@example.org\nSubject: old\nReceived: from b\nContent-Type: text/html\n",
        subject="new",
        headers=[("Received", "from a"), ("Content-Transfer-Encoding", "quoted-printable")],
        text="=20",
    )
    assert (str(message.from_email), message.subject) == ("a@example.org", "new")
    assert message.get_all("Received") == ["from b", "from a"]
    assert message.get_all("Subject") == ["new"]
    assert (message.get_content_type(), message.text) == ("text/plain", "=20")


def test_a_header_stays_one_line() -> None:
    message = construct(subject="one\r\nBcc: x@example.org", headers={"X-A": "b\n c"})
    assert message.subject == "one Bcc: x@example.org"
    assert message.keys() == ["Subject", "X-A", "MIME-Version", "Content-Type"]


def test_addresses_may_be_a_list() -> None:
    message = construct(
        from_email=Address("A, b", addr_spec="a@x.example"),
        to=["a@x.example", "B <b@x.example>"],
        cc=(Address("C, d", addr_spec="c@x.example"),),
        bcc=[],
    )
    assert str(message.from_email) == '"A, b" <a@x.example>'
    assert [address.addr_spec for address in message.to] == ["a@x.example", "b@x.example"]
    assert list(map(str, message.cc)) == ['"C, d" <c@x.example>']
    assert message.bcc == []


@pytest.mark.parametrize("name", ["X\nBcc: a@x.example", "X:", "X Y", "Größe", ""])
def test_a_name_that_no_header_has_raises(name: str) -> None:
    with pytest.raises(ValueError, match="No header"):
        construct(headers={name: "x"})


def test_a_source_is_read_to_a_subclass() -> None:
    class Mail(AnymailInboundMessage):
        pass

    message = Mail.parse_raw_mime("Content-Type: message/rfc822\n\nSubject: inner\n\n")
    assert [type(part) for part in message.walk()] == [Mail, Mail]
    assert type(Mail.construct(text="t", attachments=[Mail.construct_attachment("a/b", b"")])) is Mail


@pytest.mark.parametrize("text", [None, "", "t"])
@pytest.mark.parametrize("html", [None, "", "h"])
@pytest.mark.parametrize("files", [[], [PICTURE]])
def test_missing_bodies_are_none(text: str | None, html: str | None, files: list[InboundMessage]) -> None:
    message = construct(text=text, html=html, attachments=files)
    assert (message.text, message.html) == (text, html)
    assert [file.get_filename() for file in message.attachments] == ["a.png"] * len(files)


def test_a_text_has_its_charset() -> None:
    message = construct(text="9 €", text_charset="windows-1252", html="Größe", html_charset="iso-8859-1")
    text, html = (part for part in message.walk() if not part.is_multipart())
    assert (text.get_payload(decode=True), html.get_payload(decode=True)) == (b"9 \x80", b"Gr\xf6\xdfe")
    assert (message.text, message.html) == ("9 €", "Größe")
    with pytest.raises(UnicodeEncodeError):
        construct(text="€", text_charset="iso-8859-1")
    with pytest.raises(LookupError):
        construct(text="a", text_charset="klingon")


@pytest.mark.parametrize(
    ("arguments", "kind", "charset", "text"),
    [
        ({"content": "ü"}, "text/plain", None, "ü"),
        ({"content": "ü", "charset": "cp1252"}, "text/plain", "cp1252", "ü"),
        ({"content": b"\xfc", "charset": "cp1252"}, "text/plain", "cp1252", "ü"),
        ({"content": b64encode(b"abc"), "base64": True}, "text/plain", None, "abc"),
        ({"content": "YWJj", "base64": True}, "text/plain", None, "abc"),
        ({"content_type": 'text/csv; charset="utf-8"', "content": "ü"}, "text/csv", "utf-8", "ü"),
        (
            {"content_type": "text/csv; charset=x; header=present", "content": "ü", "charset": "utf-8"},
            *("text/csv", "utf-8", "ü"),
        ),
        ({"content_type": None, "content": b"a"}, "application/octet-stream", None, "a"),
        ({"content_type": "multipart/mixed", "content": b"a"}, "application/octet-stream", None, "a"),
        ({"content_type": "a\r\nb", "content": b"a"}, "application/octet-stream", None, "a"),
    ],
)
def test_a_file_has_its_type_charset_and_content(
    arguments: dict[str, Any], kind: str, charset: str | None, text: str
) -> None:
    part = construct_attachment(**{"content_type": "text/plain", **arguments})
    assert (part.get_content_type(), part.get_content_charset()) == (kind, charset)
    assert part.get_content_text() == text
    assert (part.is_attachment(), part.is_inline(), part.content_id) == (True, False, None)


def test_a_file_with_a_content_id_is_inline() -> None:
    part = construct_attachment("image/png", b"", filename="../a\r\nb.png", content_id="<a@b>")
    assert (part.is_attachment(), part.is_inline(), part.content_id) == (False, True, "a@b")
    assert part.get_filename() == "../a b.png"


def test_malformed_base64_raises() -> None:
    with pytest.raises(binascii.Error):
        construct_attachment("text/plain", "a", base64=True)


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (SimpleUploadedFile("a.pdf", b"%PDF", content_type="application/pdf"), "application/pdf"),
        (ContentFile(b"%PDF", name="a.pdf"), "application/octet-stream"),
    ],
)
def test_an_uploaded_file_becomes_a_part_and_an_uploaded_file_again(file: Any, kind: str) -> None:
    part = AnymailInboundMessage.construct_attachment_from_uploaded_file(file, content_id="a")
    again = part.as_uploaded_file()
    assert (again.name, again.read(), again.content_type) == ("a.pdf", b"%PDF", kind)
    assert part.content_id == "a"


@pytest.mark.parametrize("content", [MAIL, MAIL.decode()])
def test_an_attached_mail_is_readable_and_has_its_source(content: bytes | str) -> None:
    part = construct_attachment("message/rfc822", content)
    (attached,) = construct(text="see", attachments=[part]).attachments
    assert attached.get_content_bytes() == MAIL
    assert attached.as_uploaded_file().read() == MAIL


def test_a_source_is_read_as_text_bytes_or_file() -> None:
    source = "Subject: Grüße\n\nbödy"
    for message in (
        AnymailInboundMessage.parse_raw_mime(source),
        AnymailInboundMessage.parse_raw_mime_bytes(source.encode()),
        AnymailInboundMessage.parse_raw_mime_file(BytesIO(source.encode())),
        AnymailInboundMessage.parse_raw_mime_file(StringIO(source)),
    ):
        assert isinstance(message, AnymailInboundMessage)
        assert (message.subject, message.text) == ("Grüße", "bödy")


def test_a_source_beyond_a_bound_raises_a_value_error() -> None:
    with pytest.raises(Unreadable, match="nests deeper") as caught:
        AnymailInboundMessage.parse_raw_mime("Content-Type: message/rfc822\n\n" * 200)
    assert isinstance(caught.value, ValueError)


def test_the_envelope_of_a_message_can_be_set() -> None:
    message = construct(text="t")
    message.envelope_recipient = "desk@example.com"
    assert message.envelope_recipients == ["desk@example.com"]
    message.envelope_recipient = None
    assert (message.envelope_recipient, message.envelope_recipients) == (None, [])


def test_an_event_is_made_of_a_message_alone() -> None:
    message = construct(text="t")
    event = AnymailInboundEvent(event_type="inbound", message=message)
    assert event == AnymailInboundEvent(message=message)
    assert event.message is message
    assert (event.event_id, event.timestamp, event.answers, event.duplicate_of, event.esp_event) == (
        *(None, None, None, None),
        {},
    )


anything = st.none() | st.text(max_size=30)
files: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    content_type=anything | st.sampled_from(["message/rfc822", "message/delivery-status", "text/html"]),
    content=st.binary(max_size=60) | mail_sources,
    charset=st.none() | st.text("utf-8; \"'", max_size=8),
    filename=anything,
    content_id=anything,
)


@given(
    raw_headers=anything,
    from_email=anything,
    to=anything,
    subject=anything,
    headers=st.lists(
        st.tuples(st.from_regex(r"[!-9;-~]{1,9}", fullmatch=True), st.text(max_size=30)), max_size=3
    ),
    text=anything,
    html=anything,
    attachments=st.lists(files, max_size=3),
)
def test_attributes_of_a_constructed_mail_never_raise(**arguments: Any) -> None:
    attachments = [construct_attachment(**file) for file in arguments.pop("attachments")]
    message = construct(**arguments, attachments=attachments)
    for part in message.walk():
        assert isinstance(part, InboundMessage)
        for name in MESSAGE_ATTRIBUTES:
            getattr(part, name)
        part.get_content_text().encode()
        part.get_content_bytes()
        assert part.as_uploaded_file().name
    message.as_bytes()
