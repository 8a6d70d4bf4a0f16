"""An inbound mail becomes a form with SendGrid's fields, in both modes."""

import json
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import pytest

from fake_sendgrid.inbound_form import parsed_form, raw_form
from fake_sendgrid.multipart_form import MultipartForm
from tests.support.fake_sendgrid.parsed_forms import fields_by_name

Make = Callable[..., MultipartForm]

PNG = b"\x89PNG\r\n\x1a\n"


def mail(**headers: str) -> EmailMessage:
    made = EmailMessage()
    written = {
        "From": "Zoë <zoe@example.org>",
        "To": "Support <help@example.com>, other@example.net",
        "Subject": "Ein Café",
        "Message-ID": "<m1@example.org>",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    for name, value in written.items():
        made[name] = value
    made.set_content("Grüße\n> früher\n")
    return made


def with_files() -> EmailMessage:
    """A mail with a text and an HTML body, an inline image, an attached table and an attached mail."""
    made = mail()
    made.add_alternative('<p>Grüße <img src="cid:logo@1"></p>', subtype="html")
    body = made.get_body(("html",))
    assert isinstance(body, EmailMessage)
    body.add_related(PNG, "image", "png", cid="<logo@1>", filename="logo.png")
    made.add_attachment("größe;1\r\n".encode("latin-1"), "text", "csv", filename="größe.csv")
    *_, table = made.iter_parts()
    table.set_param("charset", "iso-8859-1")
    inner = mail(Subject="inner")
    made.add_attachment(inner)
    return made


def values(form: MultipartForm) -> dict[str, bytes]:
    return {name: part.raw for name, part in fields_by_name(form).items()}


def loaded(form: MultipartForm, name: str) -> Any:
    return json.loads(values(form)[name])


def names(form: MultipartForm) -> list[str]:
    return list(fields_by_name(form))


def test_a_parsed_mode_post_has_the_fields_of_sendgrid() -> None:
    found = values(parsed_form(mail(Cc="boss@example.com")))
    assert found.keys() == {
        "headers", "dkim", "to", "cc", "from", "subject", "text", "sender_ip", "envelope", "attachments",
        "charsets", "SPF",
    }  # fmt: skip
    assert found["to"].decode() == "Support <help@example.com>, other@example.net"
    assert found["cc"] == b"boss@example.com"
    assert found["from"].decode() == "Zoë <zoe@example.org>"
    assert found["subject"].decode() == "Ein Café"
    assert found["text"].decode() == "Grüße\r\n> früher\r\n"
    assert found["attachments"] == b"0"
    assert found["dkim"] == b"{@example.org : pass}"


def test_a_raw_mode_post_has_the_fields_of_sendgrid() -> None:
    made = mail()
    found = values(raw_form(made))
    assert found.keys() == {
        "email", "dkim", "to", "from", "subject", "sender_ip", "envelope", "charsets", "SPF",
    }  # fmt: skip
    assert found["from"].decode() == "Zoë <zoe@example.org>"
    assert found["email"].endswith(b"\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n> fr\xc3\xbcher\r\n")


def test_raw_bytes_are_posted_unchanged() -> None:
    mime = b"From: a@example.org\nTo: b@example.com\nX-One: 1\nX-One: 2\n folded\n\nna\xefve\n"
    assert values(raw_form(mime))["email"] == mime
    head = values(parsed_form(mime.replace(b"\n", b"\r\n")))["headers"]
    assert head == mime.partition(b"\n\n")[0] + b"\n"


@pytest.mark.parametrize("make", [parsed_form, raw_form])
def test_the_envelope_is_taken_from_the_headers_by_default(make: Make) -> None:
    assert loaded(make(mail()), "envelope") == {"to": ["help@example.com"], "from": "zoe@example.org"}
    said = make(mail(), envelope_from="", envelope_to=["a@example.com", "b@example.com"])
    assert loaded(said, "envelope") == {"to": ["a@example.com", "b@example.com"], "from": ""}


@pytest.mark.parametrize("make", [parsed_form, raw_form])
def test_a_spam_score_is_posted_only_when_given(make: Make) -> None:
    assert not {"spam_score", "spam_report"} & values(make(mail())).keys()
    found = values(make(mail(), spam=6.1))
    assert found["spam_score"] == b"6.1"
    assert b"(6.1 points, 5.0 required)" in found["spam_report"]


@pytest.mark.parametrize("charset", ["windows-1252", "iso-8859-1", "cp850", "UTF-8", "utf-16"])
def test_fields_are_encoded_in_the_named_charset(charset: str) -> None:
    made = parsed_form(mail(), charset=charset)
    assert loaded(made, "charsets") == dict.fromkeys(("to", "from", "subject", "text"), charset)
    assert values(made)["text"].decode(charset) == "Grüße\r\n> früher\r\n"
    assert values(made)["from"].decode(charset) == "Zoë <zoe@example.org>"


def test_unencodable_fields_are_posted_as_utf_8() -> None:
    made = raw_form(mail(Subject="12 €"), charset="iso-8859-1")
    assert loaded(made, "charsets") == {"to": "iso-8859-1", "from": "iso-8859-1", "subject": "UTF-8"}
    assert values(made)["subject"].decode() == "12 €"


def test_files_are_posted_before_their_attachment_info() -> None:
    made = parsed_form(with_files())
    found = fields_by_name(made)
    assert values(made)["html"].decode().strip() == '<p>Grüße <img src="cid:logo@1"></p>'
    assert values(made)["attachments"] == b"3"
    assert loaded(made, "content-ids") == {"logo@1": "attachment1"}
    assert loaded(made, "attachment-info") == {
        "attachment1": {
            "filename": "logo.png", "name": "logo.png", "type": "image/png", "content-id": "logo@1",
        },
        "attachment2": {
            "filename": "größe.csv", "name": "größe.csv", "type": "text/csv", "charset": "iso-8859-1",
        },
        "attachment3": {"filename": "", "type": "message/rfc822"},
    }  # fmt: skip
    assert names(made).index("attachment3") < names(made).index("attachment-info")
    image, table, inner = (found[f"attachment{number}"] for number in (1, 2, 3))
    assert (image.filename, image.content_type, image.raw) == ("logo.png", "image/png", PNG)
    assert (table.filename, table.headers["Content-Type"]) == ("größe.csv", "text/csv; charset=iso-8859-1")
    assert table.raw == "größe;1\r\n".encode("latin-1")
    assert (inner.filename, inner.content_type) == ("", "message/rfc822")
    assert inner.raw.startswith(b"From: ")
    assert b"Subject: inner" in inner.raw


@pytest.mark.parametrize(
    "source",
    [
        b"Subject: inner\r\n\r\nbody",
        b"Subject:inner\nX-Odd:  \xff\n folded\n\nna\xefve",
        b"no header\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx",
        b"",
    ],
)
@pytest.mark.parametrize("content_type", ["message/rfc822", "message/delivery-status", "message/partial"])
def test_an_attached_mail_is_posted_as_it_stands(source: bytes, content_type: str) -> None:
    head = b"From: a@example.org\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n"
    part = f"--a\r\nContent-Type: {content_type}\r\n\r\n".encode() + source
    made = parsed_form(head + b"--a\r\n\r\ntext\r\n" + part + b"\r\n--a--\r\n")
    assert values(made)["attachment1"] == source
    assert fields_by_name(made)["attachment1"].content_type == content_type


def test_an_attached_text_is_posted_as_a_file() -> None:
    made = mail()
    made.add_attachment("notes", filename="notes.txt")
    assert values(parsed_form(made))["attachment1"].strip() == b"notes"
    assert values(parsed_form(made))["text"].decode().startswith("Grüße")


def test_without_files_no_attachment_info_is_posted() -> None:
    assert not {"attachment-info", "content-ids"} & values(parsed_form(mail())).keys()


def test_a_mail_with_only_a_file_has_no_text() -> None:
    mime = b"From: a@example.org\r\nContent-Type: application/pdf\r\n\r\n%PDF"
    found = values(parsed_form(mime))
    assert not {"text", "html", "to"} & found.keys()
    assert found["attachment1"] == b"%PDF"


def test_a_non_ascii_address_is_unchanged() -> None:
    found = values(raw_form(mail(From="jörg@example.org")))
    assert found["email"].startswith("From: jörg@example.org\r\n".encode())
    assert json.loads(found["envelope"])["from"] == "jörg@example.org"


def test_a_long_message_id_is_not_folded() -> None:
    reference = f"<{'a' * 150}@example.org>"
    assert f"References: {reference}\r\n".encode() in values(raw_form(mail(References=reference)))["email"]
