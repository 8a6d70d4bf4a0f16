"""The form in which SendGrid's Inbound Parse posts a mail.

Sources of the fields: Twilio docs, "Setting up the Inbound Parse Webhook", and the samples of
sendgrid-python. They fix no order; here the files come before their descriptions.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from typing import cast

from fake_sendgrid.multipart_form import FormPart, MultipartForm

_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")


class _Part(EmailMessage):
    """A part of a mail. The parser takes an attached mail for a file with its source as the content."""

    def get_content_type(self) -> str:
        content_type = self.true_content_type
        return "application/octet-stream" if content_type.startswith("message/") else content_type

    @property
    def true_content_type(self) -> str:
        return super().get_content_type()


def parsed_form(
    mail: EmailMessage | bytes,
    *,
    envelope_from: str | None = None,
    envelope_to: Sequence[str] = (),
    spam: float | None = None,
    charset: str = "UTF-8",
) -> MultipartForm:
    """Return the form of a mail to a host with "send raw" off.

    The envelope defaults to the address in From and the first address in To. `spam` is the spam score; None
    means that the host checks no spam. Texts use `charset`, or UTF-8 if `charset` cannot encode them.
    """
    mime = _mime(mail)
    whole = cast(_Part, message_from_bytes(mime, policy=policy.default.clone(message_factory=_Part)))
    bodies = {"html": whole.get_body(("html",)), "text": whole.get_body(("plain",))}
    texts = {name: body.get_content() for name, body in bodies.items() if body}
    files = [leaf for leaf in _leaves(whole) if not any(leaf is body for body in bodies.values())]
    return MultipartForm(
        (
            FormPart("headers", _END_OF_HEADERS.split(mime, 1)[0].replace(b"\r\n", b"\n") + b"\n"),
            *_file_fields(files),
            *_text_fields({**_address_fields(whole), **texts}, charset),
            *_authentication_fields(whole, spam),
            _envelope(whole, envelope_from, envelope_to),
        )
    )


def raw_form(
    mail: EmailMessage | bytes,
    *,
    envelope_from: str | None = None,
    envelope_to: Sequence[str] = (),
    spam: float | None = None,
    charset: str = "UTF-8",
) -> MultipartForm:
    """Return the form of a mail to a host with "send raw" on. The arguments are those of `parsed_form`."""
    mime = _mime(mail)
    head = BytesHeaderParser(policy=policy.default).parsebytes(mime)
    return MultipartForm(
        (
            FormPart("email", mime),
            *_text_fields(_address_fields(head), charset),
            *_authentication_fields(head, spam),
            _envelope(head, envelope_from, envelope_to),
        )
    )


def _mime(mail: EmailMessage | bytes) -> bytes:
    if isinstance(mail, bytes):
        return mail
    # An address that is not ASCII needs UTF-8 headers (RFC 6531).
    utf8 = not "".join(_emails(mail, "From") + _emails(mail, "To")).isascii()
    # The longest lines of RFC 5322: with shorter ones the email package breaks a long Message-ID.
    return mail.as_bytes(policy=policy.SMTP.clone(utf8=utf8, max_line_length=998))


def _address_fields(mail: EmailMessage) -> dict[str, str]:
    return {
        name: ", ".join(map(str, found))
        for name in ("to", "cc", "from", "subject")
        if (found := mail.get_all(name))
    }


def _emails(mail: EmailMessage, name: str) -> list[str]:
    emails = [address.addr_spec for header in mail.get_all(name, []) for address in header.addresses]
    # The email package leaves bytes that are not ASCII as surrogates.
    return [email.encode(errors="surrogateescape").decode(errors="replace") for email in emails]


def _leaves(part: _Part) -> Iterator[_Part]:
    """Yield every part without inner parts."""
    if not part.is_multipart():
        yield part
        return
    for inner in part.iter_parts():
        yield from _leaves(cast(_Part, inner))


def _file_fields(files: Sequence[_Part]) -> Iterator[FormPart]:
    """Yield the files, then the fields that describe them."""
    infos, ids = {}, {}
    for number, file in enumerate(files, 1):
        name, info = f"attachment{number}", _attachment_info(file)
        infos[name] = info
        if "content-id" in info:
            ids[info["content-id"]] = name
        charset = f"; charset={info['charset']}" if "charset" in info else ""
        content = file.get_payload(decode=True)
        assert isinstance(content, bytes)
        yield FormPart(name, content, info["filename"], info["type"] + charset)
    yield FormPart("attachments", str(len(files)).encode())
    if infos:
        yield FormPart("attachment-info", _json(infos))
    if ids:
        yield FormPart("content-ids", _json(ids))


def _attachment_info(file: _Part) -> dict[str, str]:
    name = file.get_filename("")
    known = {
        "name": name,
        "content-id": str(file.get("Content-ID", "")).strip(" <>"),
        "charset": file.get_content_charset(""),
    }
    return {
        "filename": name,
        "type": file.true_content_type,
        **{key: value for key, value in known.items() if value},
    }


def _text_fields(texts: Mapping[str, str], charset: str) -> Iterator[FormPart]:
    charsets = {}
    for name, text in texts.items():
        charsets[name] = charset if _fits(text, charset) else "UTF-8"
        yield FormPart(name, text.encode(charsets[name], "replace"))
    yield FormPart("charsets", _json(charsets))


def _fits(text: str, charset: str) -> bool:
    try:
        text.encode(charset)
    except UnicodeEncodeError:
        return False
    return True


def _authentication_fields(mail: EmailMessage, spam: float | None) -> Iterator[FormPart]:
    domain = "".join(_emails(mail, "From")[:1]).rpartition("@")[2]
    yield FormPart("dkim", f"{{@{domain} : pass}}".encode() if domain else b"none")
    yield FormPart("SPF", b"pass")
    yield FormPart("sender_ip", b"198.51.100.77")
    if spam is not None:
        yield FormPart("spam_score", str(spam).encode())
        yield FormPart(
            "spam_report",
            'Spam detection software, running on the system "mx.example.net", has looked at this mail.\n\n'
            f"Content analysis details:   ({spam} points, 5.0 required)\n".encode(),
        )


def _envelope(mail: EmailMessage, sender: str | None, to: Sequence[str]) -> FormPart:
    by_header = "".join(_emails(mail, "From")[:1])
    envelope = {
        "to": list(to) or _emails(mail, "To")[:1],
        "from": by_header if sender is None else sender,
    }
    return FormPart("envelope", _json(envelope))


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
