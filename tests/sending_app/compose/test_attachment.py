"""A file of any kind that Django takes becomes one that SendGrid takes."""

import email.policy
from email import encoders, message_from_bytes
from email.message import EmailMessage as Email
from email.message import Message, MIMEPart
from email.mime.application import MIMEApplication
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

import pytest
from django.core.mail import EmailMessage
from django.core.mail.message import EmailAttachment
from django.utils.functional import lazystr

from sending_app.compose.attachment import read_attachment
from sending_app.exceptions import SerializationError
from sending_app.mail import AttachedFile


def part(kind: str, headers: dict[str, str], content: bytes = b"x") -> MIMEBase:
    found = MIMEBase(*kind.split("/"))
    found.set_payload(content)
    encoders.encode_base64(found)
    for name, value in headers.items():
        found[name] = value
    return found


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("a.txt", "plain é", "text/plain"), ("plain é".encode(), "a.txt", "text/plain")),
        (("a.csv", "é;1".encode(), "text/csv"), ("é;1".encode(), "a.csv", "text/csv")),
        (("a.pdf", b"%PDF\xff", "application/pdf"), (b"%PDF\xff", "a.pdf", "application/pdf")),
        (("a.pdf", b"%PDF", None), (b"%PDF", "a.pdf", "application/pdf")),
        (("a.pdf", b"%PDF"), (b"%PDF", "a.pdf", "application/pdf")),
        (("a.what", b"?", None), (b"?", "a.what", "application/octet-stream")),
        (("a.json", '{"é": 1}', "application/json"), ('{"é": 1}'.encode(), "a.json", "application/json")),
        (("a.bin", bytearray(b"ab"), "x/y"), (b"ab", "a.bin", "x/y")),
        (("a.bin", memoryview(b"ab"), "x/y"), (b"ab", "a.bin", "x/y")),
        (("a.txt", b"\xff\xfe", "text/plain"), (b"\xff\xfe", "a.txt", "application/octet-stream")),
        (("a.txt", b"x", "text/plain\r\nX-A: b"), (b"x", "a.txt", "application/octet-stream")),
    ],
)
def test_a_file_becomes_an_attachment(given: tuple[Any, ...], expected: tuple[bytes, str, str]) -> None:
    content, filename, kind = expected
    assert read_attachment(given) == AttachedFile(content=content, filename=filename, type=kind)


@pytest.mark.parametrize(
    "given",
    [
        ("a.txt", "é", 'text/plain; charset="utf-8"'),
        ("a.txt", "é", "text/plain;charset=iso-8859-1"),
        ("a.txt", b"\xe9", "text/plain; charset=iso-8859-1"),
        ("a.txt", "é".encode(), "text/plain; charset="),
        MIMEText("é", "plain", "utf-8"),
        MIMEText("é", "plain", "iso-8859-1"),
    ],
)
def test_b1_a_content_type_has_no_charset_and_text_is_utf8(given: Any) -> None:
    found = read_attachment(given)
    assert found.type == "text/plain"
    assert found.content == "é".encode()


def test_lazy_text_is_evaluated() -> None:
    found = read_attachment((lazystr("größe.txt"), lazystr("é"), lazystr("text/plain")))
    assert found == AttachedFile(content="é".encode(), filename="größe.txt", type="text/plain")
    assert type(found.filename) is type(found.type) is str
    assert read_attachment((lazystr("a.pdf"), b"%PDF")).type == "application/pdf"


INVITATION = "BEGIN:VCALENDAR\nMETHOD:REQUEST\nEND:VCALENDAR\n"


def calendar_part(kind: type[Message], content_type: str) -> Message:
    found = kind()
    found["Content-Type"] = content_type
    found["Content-Disposition"] = 'attachment; filename="invite.ics"'
    found.set_payload(INVITATION)
    return found


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/calendar; method=REQUEST", "text/calendar; method=REQUEST"),
        ('text/calendar; charset="utf-8"; method=CANCEL', "text/calendar; method=CANCEL"),
        ("TEXT/CALENDAR; Method=request; charset=us-ascii", "text/calendar; method=REQUEST"),
        ('text/calendar; component=VEVENT; method="REPLY"; name="a;b.ics"', "text/calendar; method=REPLY"),
        ("text/calendar", "text/calendar"),
        ("application/ics; method=REQUEST", "application/ics"),
    ],
)
def test_a_calendar_keeps_its_method_and_no_other_parameter(content_type: str, expected: str) -> None:
    file = AttachedFile(content=INVITATION.encode(), filename="invite.ics", type=expected)
    for given in (
        ("invite.ics", INVITATION, content_type),
        ("invite.ics", INVITATION.encode(), content_type),
        EmailAttachment("invite.ics", INVITATION, content_type),
        calendar_part(Message, content_type),
        calendar_part(Email, content_type),
        calendar_part(MIMEPart, content_type),
    ):
        assert read_attachment(given) == file


def test_a_calendar_of_the_email_api_keeps_its_method() -> None:
    modern = MIMEPart(email.policy.default)
    modern.set_content(
        INVITATION,
        subtype="calendar",
        params={"method": "REQUEST", "name": "invite.ics"},
        disposition="attachment",
    )
    old = MIMEText(INVITATION, "calendar", "utf-8")
    old.set_param("method", "REQUEST")
    old.set_param("name", "invite.ics")
    base = MIMEBase("text", "calendar", method="REQUEST", name="invite.ics")
    base.set_payload(INVITATION)
    folded = message_from_bytes(
        b"Content-Type: text/calendar; charset=utf-8;\r\n\tmethod=REQUEST; name=invite.ics\r\n\r\n"
        + INVITATION.encode(),
        policy=email.policy.default,
    )
    for given in (modern, old, base, folded):
        found = read_attachment(given)
        assert (found.type, found.filename) == ("text/calendar; method=REQUEST", "invite.ics")
        assert found.content == INVITATION.encode()


def test_the_type_of_a_calendar_guessed_from_the_file_name_has_no_method() -> None:
    assert read_attachment(("invite.ics", INVITATION)).type == "text/calendar"


@pytest.mark.parametrize("method", ['"RE QUEST"', '""', "RE\r\nX:y", "é"])
def test_a_calendar_with_an_impossible_method_is_refused(method: str) -> None:
    with pytest.raises(SerializationError, match=r"attachment 'a.ics' has the method .*, not a word such as"):
        read_attachment(("a.ics", INVITATION, f"text/calendar; method={method}"))


def test_parameters_of_other_types_are_left_out() -> None:
    found = read_attachment(("", b"x", 'application/pdf; version=1.7; name="a.pdf"'))
    assert (found.type, found.filename) == ("application/pdf", "a.pdf")
    assert read_attachment(("a.txt", "x", "text/plain; format=flowed; delsp=yes")).type == "text/plain"


def test_a_multipart_is_attached_as_a_file_of_unknown_type() -> None:
    entity = MIMEMultipart("related", boundary="b")
    entity.attach(MIMEText("x"))
    found = read_attachment(entity)
    assert found.type == "application/octet-stream"
    assert b'boundary="b"' in found.content
    assert read_attachment(("a", b"--b--", "multipart/mixed; boundary=b")).type == "application/octet-stream"


@pytest.mark.parametrize("size", [255, 256, 300])
def test_a_type_and_a_content_id_of_more_than_255_characters_are_refused(size: int) -> None:
    kind, disposition = "a/" + "b" * (size - 2), {"Content-Disposition": 'attachment; filename="a.bin"'}
    entities = [
        ("type of the attachment 'a.bin'", ("a.bin", b"x", kind)),
        ("type of the attachment 'a.bin'", part(kind, disposition)),
        (
            "Content-ID of the attachment 'attachment.png'",
            part("image/png", {"Content-ID": f"<{'x' * size}>"}),
        ),
    ]
    for says, given in entities:
        if size > 255:
            with pytest.raises(SerializationError, match=f"The {says} has {size} characters; up to 255 fit"):
                read_attachment(given)
        else:
            found = read_attachment(given)
            assert size in (len(found.type), len(found.content_id or ""))


@pytest.mark.parametrize("kind", ["pdf", "text/plain/x", "a b/c", "größe/x", "/", ";charset=utf-8"])
def test_a_type_that_is_not_a_mime_type_becomes_the_unknown_type(kind: str) -> None:
    assert read_attachment(("a.bin", b"x", kind)).type == "application/octet-stream"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("abc", "attachments holds a str; it takes"),
        (5, "attachments holds a int"),
        (None, "attachments holds a NoneType"),
        ({"a": 1}, "attachments holds a dict"),
        (("a.txt",), "attachments holds a tuple"),
        (("a.txt", b"x", "text/plain", "y"), "attachments holds a tuple"),
        ((5, b"x"), "The filename of an attachment is a int, not text"),
        ((b"a.txt", b"x", "text/plain"), "The filename of an attachment is a bytes"),
        (("a.txt", b"x", 5), "The type of an attachment is a int"),
        (("a.txt", None, "text/plain"), "The attachment 'a.txt' is a NoneType, not text or bytes"),
        (("a.txt", "\ud83d", "text/plain"), "An attachment cannot be read: UnicodeEncodeError"),
        (("a.eml", EmailMessage("two\nlines"), None), "An attachment cannot be read: "),
    ],
)
def test_an_attachment_of_another_shape_is_refused(given: Any, says: str) -> None:
    with pytest.raises(SerializationError, match=f"^{says}") as caught:
        read_attachment(given)
    assert caught.value.__context__ is None


def test_a_file_name_is_never_read_as_a_url() -> None:
    assert read_attachment(("http://[x", b"x")).type == "application/octet-stream"
    assert read_attachment(("data:text/html,x", b"x")).type == "application/octet-stream"


def test_text_in_an_unknown_charset_is_attached_as_bytes() -> None:
    found = read_attachment(("a.txt", b"\xe9", "text/plain; charset=klingon"))
    assert (found.type, found.content) == ("application/octet-stream", b"\xe9")


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        (None, "text/plain", "attachment.txt"),
        ("", "application/pdf", "attachment.pdf"),
        (" \n", "image/png", "attachment.png"),
        (None, "no/such", "attachment.bin"),
        ("a;b.txt", "text/plain", "a_b.txt"),
        ("a\r\nX: b.txt", "text/plain", "a_X: b.txt"),
        ("a\x00\ud800.txt", "text/plain", "a_.txt"),
        ("a\tb\x9f\u2028c.txt", "text/plain", "a_b_c.txt"),
        ("größe.txt", "text/plain", "größe.txt"),
        ("x" * 300 + ".txt", "text/plain", "x" * 251 + ".txt"),
    ],
)
def test_a_file_name_is_made_acceptable_to_sendgrid(name: str | None, kind: str, expected: str) -> None:
    assert read_attachment((name, b"x", kind)).filename == expected


def test_content_other_than_text_or_bytes_is_refused() -> None:
    with pytest.raises(SerializationError, match=r"The attachment 'a.txt' is a list, not text or bytes"):
        read_attachment(("a.txt", [], "text/plain"))


# Parts


def test_a_mime_part_becomes_an_attachment() -> None:
    found = read_attachment(
        part("application/pdf", {"Content-Disposition": 'attachment; filename="a.pdf"'}, b"%PDF")
    )
    assert found == AttachedFile(content=b"%PDF", filename="a.pdf", type="application/pdf")
    found = read_attachment(MIMEApplication(b"\x00", "zip"))
    assert found == AttachedFile(content=b"\x00", filename="attachment.zip", type="application/zip")


def test_a_mime_part_of_the_modern_email_api_becomes_an_attachment() -> None:
    given = MIMEPart(email.policy.default)
    given.set_content(
        "é", subtype="csv", disposition="attachment", filename="größe.csv", charset="iso-8859-1"
    )
    assert read_attachment(given) == AttachedFile(
        content="é\n".encode(), filename="größe.csv", type="text/csv"
    )


@pytest.mark.parametrize(
    ("headers", "content_id"),
    [
        ({"Content-Disposition": "inline", "Content-ID": "<logo@inline>"}, "logo@inline"),
        ({"Content-ID": "<logo@inline>"}, "logo@inline"),
        ({"Content-ID": "logo@inline"}, "logo@inline"),
        ({"Content-ID": "<lo;go@inline>"}, "logo@inline"),
        ({"Content-Disposition": "attachment", "Content-ID": "<logo@inline>"}, None),
        ({}, None),
        ({"Content-ID": "<>"}, None),
    ],
)
def test_inline_images_keep_their_content_id(headers: dict[str, str], content_id: str | None) -> None:
    assert read_attachment(part("image/png", headers)).content_id == content_id


def test_inline_images_without_a_content_id_get_unique_ones() -> None:
    first, second = (
        read_attachment(part("image/png", {"Content-Disposition": "inline"})).content_id for _ in range(2)
    )
    assert first
    assert second
    assert first != second
    assert not set(first) & set("<>;\r\n")


# A mail in a mail


@pytest.mark.parametrize("name", ["a.eml", None])
def test_an_attached_django_message_becomes_an_attachment(name: str | None) -> None:
    inner = EmailMessage("Inside", "body", "f@x.example", ["t@x.example"])
    found = read_attachment((name, inner, "message/rfc822"))
    assert (found.filename, found.type) == (name or "attachment.eml", "message/rfc822")
    assert b"Subject: Inside\r\n" in found.content
    assert found.content.count(b"\n") == found.content.count(b"\r\n")


def test_an_attached_mail_without_name_and_type_has_the_type_of_a_mail() -> None:
    inner = EmailMessage("Inside", "body", "f@x.example", ["t@x.example"])
    found = read_attachment((None, inner, None))
    assert (found.filename, found.type) == ("attachment.eml", "message/rfc822")


@pytest.mark.parametrize("kind", [Message, Email])
def test_an_attached_message_of_the_standard_library_becomes_an_attachment(kind: type[Message]) -> None:
    inner = kind()
    inner["Subject"] = "Inside"
    inner.set_payload("body")
    assert b"Subject: Inside" in read_attachment(("a.eml", inner, "message/rfc822")).content
    outer = MIMEBase("message", "rfc822")
    outer.attach(inner)
    found = read_attachment(outer)
    assert found.content == inner.as_bytes().replace(b"\n", b"\r\n")
    assert found.type == "message/rfc822"


def test_an_attached_message_given_as_text_becomes_an_attachment() -> None:
    assert (
        read_attachment(("a.eml", "Subject: Inside\n\nbody", "message/rfc822")).content
        == b"Subject: Inside\n\nbody"
    )


def test_attachments_made_by_django_are_read() -> None:
    message = EmailMessage()
    message.attach("a.txt", "é")
    message.attach("b.txt", b"\xff")
    message.attach("c.png", b"\x89PNG", "image/png")
    assert [(one.filename, one.type) for one in map(read_attachment, message.attachments)] == [
        ("a.txt", "text/plain"),
        ("b.txt", "application/octet-stream"),
        ("c.png", "image/png"),
    ]
