"""The page of one mail: content, recipients with buttons, events and replies, and the request."""

from collections.abc import Iterator, Mapping
from typing import Any

from fake_sendgrid.posted_events import PostedEvents
from fake_sendgrid.request_log import AcceptedMail
from fake_sendgrid.server import FakeSendGrid
from fake_sendgrid.website import mail_events, mail_parts, recipients, states
from fake_sendgrid.website.markup import Markup, fill, fill_each, join

_MAIN = """<p class="note"><a href="/">← Mails</a></p><h1><bdi>$subject</bdi></h1>
<div class="card"><table class="facts">$facts</table></div>
<h2>Recipients</h2>$recipients
<div data-live="/mails/$id/events">$events</div>
<h2>Content</h2>$contents
$attachments
<h2>Request</h2>$headers
<details class="card"><summary>Body of the request</summary><pre>$body</pre></details>
<p class="note"><a href="/mails/$id/request">Download the body</a></p>"""

_FACT = """<tr><th>$name</th><td><bdi>$value</bdi></td></tr>"""

_HTML = """<div class="card"><iframe sandbox src="/mails/$id/contents/$number" title="The HTML of the mail">
</iframe></div><p class="note">The frame loads nothing: no remote image, no script, no link.</p>
<details class="card"><summary>Source of the HTML</summary><pre>$text</pre></details>"""

_TEXT = """<div class="card"><pre><bdi>$text</bdi></pre></div><p class="note">$type</p>"""

_TEMPLATE = """<p class="card pad">SendGrid would fill the template <code>$id</code>. The mail itself has no
content. The data of each recipient is above.</p>"""

_ATTACHMENTS = """<h2>Attachments</h2><div class="card"><table class="facts">$rows</table></div>"""

_ATTACHMENT = """<tr><td><a href="/mails/$id/attachments/$number" download><bdi>$name</bdi></a>
<span class="to">$type, $size$cid</span></td></tr>"""

_HEADERS = """<details class="card"><summary>Headers</summary><pre>$text</pre></details><p></p>"""


def main(fake: FakeSendGrid, events: PostedEvents, mail: AcceptedMail, token: str) -> Markup:
    headers = "\n".join(f"{name}: {value}" for name, value in mail_parts.header_fields(mail))
    return fill(
        _MAIN,
        id=mail.x_message_id,
        subject=mail_parts.subject(mail.body),
        facts=fill_each(_FACT, ({"name": name, "value": value} for name, value in _facts(mail))),
        recipients=recipients.main(fake, mail, token),
        events=mail_events.main(fake, events, mail),
        contents=_contents(mail),
        attachments=_attachments(mail),
        headers=fill(_HEADERS, text=headers),
        body=mail_parts.readable_json(mail.raw),
    )


def _facts(mail: AcceptedMail) -> Iterator[tuple[str, str]]:
    body = mail.body
    yield "From", mail_parts.address(body["from"])
    yield "Taken at", states.clock(mail.at)
    if mail.sandbox:
        yield "Sandbox", "SendGrid would check the mail and not send it"
    if "template_id" in body:
        yield "Template", body["template_id"]
    if "categories" in body:
        yield "Categories", ", ".join(body["categories"])
    if "custom_args" in body:
        yield "Arguments", _pairs(body["custom_args"])
    if "send_at" in body:
        yield "Send at", f"{states.clock(body['send_at'])}; events come at once"
    yield "X-Message-Id", mail.x_message_id


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in values.items())


def _contents(mail: AcceptedMail) -> Markup:
    contents = mail_parts.contents(mail.body)
    if not contents:
        return fill(_TEMPLATE, id=mail.body.get("template_id", ""))
    # HTML first: it is what most recipients see.
    numbered = sorted(enumerate(contents), key=lambda one: one[1][0] != "text/html")
    return join(
        fill(
            _HTML if media_type == "text/html" else _TEXT,
            id=mail.x_message_id,
            number=number,
            text=text,
            type=media_type,
        )
        for number, (media_type, text) in numbered
    )


def _attachments(mail: AcceptedMail) -> Markup:
    rows: list[dict[str, object]] = [
        {
            "id": mail.x_message_id,
            "number": number,
            "name": one.file_name or "(no name)",
            "type": one.media_type or "no type",
            "size": f"{len(one.content):,} bytes",
            "cid": f", inline as cid:{one.content_id}" if one.content_id else "",
        }
        for number, one in enumerate(mail_parts.attachments(mail.body))
    ]
    return fill(_ATTACHMENTS, rows=fill_each(_ATTACHMENT, rows)) if rows else Markup()
