"""The page of one mail: content, recipients with buttons, events and replies, and the request."""

from collections.abc import Iterator, Mapping
from typing import Any

from fake_sendgrid.posted_events import PostedEvents
from fake_sendgrid.request_log import AcceptedMail
from fake_sendgrid.server import FakeSendGrid
from fake_sendgrid.website import mail_events, mail_parts, recipients, states
from fake_sendgrid.website.markup import Markup, fill, fill_each, join

_MAIN = """<p class="note"><a href="/">← Mails</a></p><h1><bdi>$subject</bdi></h1>
<div class="columns"><div>
<div class="card"><table class="facts">$facts</table></div>
$contents
$attachments
<h2>Request</h2>
<details class="card"><summary>Headers</summary><pre>$headers</pre></details>
<details class="card"><summary>Body as JSON</summary><pre>$body</pre></details>
<p class="note"><a href="/mails/$id/request" download>Download the body as it came</a></p>
</div><div>
<h2>Recipients</h2>$recipients
<div data-live="/mails/$id/events">$events</div>
</div></div>"""

_FACT = """<tr><th>$name</th><td><bdi>$value</bdi></td></tr>"""

_HTML = """<h2>HTML</h2><div class="card">
<iframe sandbox src="/mails/$id/contents/$number" title="The HTML of the mail"></iframe></div>
<p class="note">The frame runs no script, follows no link and loads no remote image.</p>$links
<details class="card"><summary>Source</summary><pre>$text</pre></details>"""

_LINKS = """<details class="card"><summary>Links ($count)</summary><ul>$links</ul></details>"""

_LINK = """<li><a href="$url" target="_blank" rel="noopener noreferrer"><bdi>$url</bdi></a></li>"""

_TEXT = """<h2>$title</h2><div class="card"><pre><bdi>$text</bdi></pre></div>"""

_TEMPLATE = """<h2>Content</h2><div class="card pad"><p>SendGrid fills the template <code>$id</code> with the
data of each recipient. The request has no content.</p></div>"""

_ATTACHMENTS = """<h2>Attachments</h2><div class="card"><table class="facts">$rows</table></div>"""

_ATTACHMENT = """<tr><td><a href="/mails/$id/attachments/$number" download><bdi>$name</bdi></a>
<span class="to">$type, $size$cid</span></td></tr>"""


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
        headers=headers,
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
    return join(_content(mail, number, *content) for number, content in numbered)


def _content(mail: AcceptedMail, number: int, media_type: str, text: str) -> Markup:
    if media_type != "text/html":
        title = "Text" if media_type == "text/plain" else media_type
        return fill(_TEXT, title=title, text=text)
    urls = mail_parts.links(text)
    links = fill(_LINKS, count=len(urls), links=fill_each(_LINK, ({"url": url} for url in urls)))
    return fill(_HTML, id=mail.x_message_id, number=number, text=text, links=links if urls else "")


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
