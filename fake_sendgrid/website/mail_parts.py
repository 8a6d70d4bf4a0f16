"""The parts of a request to mail/send: bodies, attachments, headers, and the JSON in a readable size.

The content of a mail is not trusted: its HTML is served with a policy that allows no script, no request and
no form, and its attachments as downloads.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any, NamedTuple
from urllib.parse import quote

from fake_sendgrid.events import message_id
from fake_sendgrid.http_server import Response
from fake_sendgrid.request_log import AcceptedMail
from fake_sendgrid.website.layout import encoded

#: The longest string of the JSON that is shown whole, such as the base64 of an attachment.
_SHOWN_TEXT = 2000

_CID = re.compile(r"cid:([^\s\"'<>)]+)", re.IGNORECASE)
_IMAGE_TYPE = re.compile(r"image/[\w.+-]+", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*")

_SANDBOX = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Attachment(NamedTuple):
    file_name: str
    media_type: str
    content: bytes
    content_id: str | None


def contents(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The bodies of the mail with their media types."""
    return [(part["type"], part["value"]) for part in body.get("content", [])]


def attachments(body: Mapping[str, Any]) -> list[Attachment]:
    return [
        Attachment(
            one.get("filename", ""),
            one.get("type", ""),
            base64.b64decode(one["content"]),
            one.get("content_id"),
        )
        for one in body.get("attachments", [])
    ]


def header_fields(mail: AcceptedMail) -> Iterator[tuple[str, str]]:
    """Yield the headers that all recipients get, those of the request last."""
    body = mail.body
    yield "From", address(body["from"])
    for who in body.get("reply_to_list", [body["reply_to"]] if "reply_to" in body else []):
        yield "Reply-To", address(who)
    if "subject" in body:
        yield "Subject", body["subject"]
    yield "Message-ID", message_id(mail.x_message_id, body.get("headers", {}))
    yield from (
        (name, text) for name, text in body.get("headers", {}).items() if name.lower() != "message-id"
    )


def links(html: str) -> list[str]:
    """The web addresses of the links, each once."""
    parser = _LinkParser()
    parser.feed(html)
    return list(dict.fromkeys(parser.urls))


class _LinkParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.urls += [
            value.strip()
            for name, value in attrs
            if tag == "a" and name == "href" and value and value.strip().startswith(("https://", "http://"))
        ]


def address(who: Mapping[str, Any]) -> str:
    """An address with its name, for people."""
    return f"{who['name']} <{who['email']}>" if who.get("name") else str(who["email"])


def subject(body: Mapping[str, Any]) -> str:
    """The subject of the first recipient."""
    text = body["personalizations"][0].get("subject", body.get("subject", ""))
    return text or ("(subject of the template)" if "template_id" in body else "(no subject)")


def readable_json(raw: bytes) -> str:
    """The JSON of a request with an indent and without long strings; the text as it is if it is not JSON."""
    try:
        return json.dumps(_shortened(json.loads(raw)), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return _shortened_text(raw.decode(errors="replace"))


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        return _shortened_text(value)
    if isinstance(value, list):
        return [_shortened(one) for one in value]
    if isinstance(value, dict):
        return {key: _shortened(one) for key, one in value.items()}
    return value


def _shortened_text(text: str) -> str:
    if len(text) <= _SHOWN_TEXT:
        return text
    return f"{text[:100]}… ({len(text):,} characters)"


def html_preview(mail: AcceptedMail, html: str) -> Response:
    """The HTML of a mail for a frame, with its inline images."""
    images = {
        one["content_id"]: f"data:{one['type']};base64,{''.join(one['content'].split())}"
        for one in mail.body.get("attachments", [])
        if one.get("content_id")
        and _IMAGE_TYPE.fullmatch(one.get("type", ""))
        and _BASE64.fullmatch(one["content"])
    }
    whole = _CID.sub(lambda found: images.get(found[1], found[0]), html)
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": f"{_SANDBOX}; frame-ancestors 'self'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
    }
    return Response(200, headers, encoded(whole))


def download(file_name: str, content: bytes) -> Response:
    """A file that browsers save and do not show."""
    name = quote(file_name.replace("/", "_").replace("\\", "_").encode(errors="replace"), safe="")
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f"attachment; filename*=UTF-8''{name or 'attachment'}",
        "Content-Security-Policy": _SANDBOX,
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
    }
    return Response(200, headers, content)
