"""A mail has the same attributes whether SendGrid posts it in raw or in parsed mode."""

import re
from email.message import EmailMessage
from email.policy import SMTP
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.inbound.message import InboundMessage
from events_app.inbound.parse.form import read_form
from events_app.inbound.parse.post import read_post
from fake_sendgrid import inbound_form
from fake_sendgrid.multipart_form import MultipartForm

#: The attributes that both modes agree about, as docs/inbound.md lists them.
AGREED = (
    *("from_email", "to", "cc", "bcc", "subject", "date", "message_id", "in_reply_to", "references"),
    *("text", "html", "stripped_text", "stripped_html"),
    *("envelope_sender", "envelope_recipient", "envelope_recipients"),
    *("spam_detected", "spam_score", "spf", "dkim", "sender_ip"),
)
FILES = ("attachments", "inlines")

MAILS = {
    "Gmail gives each attachment a content id": """\
Content-Type: multipart/mixed; boundary=a

--a
Content-Type: multipart/related; boundary=b

--b
Content-Type: multipart/alternative; boundary=c

--c
Content-Type: text/plain; charset=utf-8

Here: [image: logo.png]
--c
Content-Type: text/html; charset=utf-8

<div>Here: <img src="cid:ii_m1" alt="logo.png"></div>
--c--

--b
Content-Type: image/png; name="logo.png"
Content-Disposition: inline; filename="logo.png"
Content-Transfer-Encoding: base64
X-Attachment-Id: ii_m1
Content-ID: <ii_m1>

iVBORw==
--b--

--a
Content-Type: application/pdf; name="bill.pdf"
Content-Disposition: attachment; filename="bill.pdf"
Content-Transfer-Encoding: base64
X-Attachment-Id: f_m2
Content-ID: <f_m2>

JVBERg==
--a--
""",
    "Apple Mail shows a picture without HTML, and a document": """\
Content-Type: multipart/mixed; boundary=a

--a
Content-Type: text/plain; charset=us-ascii

See:

--a
Content-Type: image/jpeg; name=photo.jpg
Content-Disposition: inline; filename=photo.jpg
Content-Transfer-Encoding: base64

/9j/
--a
Content-Type: application/pdf; name=bill.pdf
Content-Disposition: inline; filename=bill.pdf
Content-Transfer-Encoding: base64

JVBERg==
--a--
""",
    "Outlook names pictures in CSS, with a domain that is none": """\
Content-Type: multipart/related; boundary=a; type="multipart/alternative"

--a
Content-Type: multipart/alternative; boundary=b

--b
Content-Type: text/plain; charset="iso-8859-1"
Content-Transfer-Encoding: quoted-printable

Gr=FC=DFe

On 1 May 2026, Ann wrote:
> Hello

--b
Content-Type: text/html; charset="iso-8859-1"
Content-Transfer-Encoding: quoted-printable

<body style=3D"background:url(&quot;cid:image001.png@01DB.A&quot;)"><p>Gr=FC=DFe</p></body>

--b--

--a
Content-Type: image/png; name="image001.png"
Content-Description: image001.png
Content-Disposition: inline; filename="image001.png"; size=4
Content-ID: <image001.png@01DB.A>
Content-Transfer-Encoding: base64

iVBORw==
--a
Content-Type: image/png; name="image002.png"
Content-Disposition: inline; filename="image002.png"; size=4
Content-ID: <image002.png@01DB.A>
Content-Transfer-Encoding: base64

iVBORw==
--a--
""",
    "an invitation, and a forwarded mail": """\
Content-Type: multipart/mixed; boundary=a

--a
Content-Type: multipart/alternative; boundary=b

--b
Content-Type: text/plain

Come!
--b
Content-Type: text/calendar; charset=utf-8; method=REQUEST

BEGIN:VCALENDAR
END:VCALENDAR
--b--

--a
Content-Type: message/rfc822
Content-Disposition: attachment

Subject: inner

inner body
--a--
""",
    "a delivery report": """\
Content-Type: multipart/report; report-type=delivery-status; boundary=a

--a
Content-Type: text/plain

Your mail was not delivered.
--a
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; bob@example.net
Action: failed
Status: 5.1.1

--a
Content-Type: message/rfc822

Subject:no space
Content-Type: multipart/mixed; boundary=b

--b

body
--b--
--a--
""",
    "a file alone": """\
Content-Type: application/pdf; name="a.pdf"
Content-Transfer-Encoding: base64

JVBERg==
""",
    "HTML alone": "Content-Type: text/html; charset=windows-1252\n\n<p>Hello</p>\n",
    "a named text alone": """\
Content-Type: text/plain; charset=utf-8; format=flowed; name*=utf-8''caf%C3%A9%20%22b%22.txt
Content-Disposition: inline

Hello
""",
    "named HTML alone": 'Content-Type: text/html; charset=utf-8; name="a b.html"\n\n<p>Hello</p>\n',
    "alternatives with a name": """\
Content-Type: multipart/alternative; boundary=a

--a
Content-Type: text/plain; name=a.txt

Hello
--a
Content-Type: text/html; name=a.html

<p>Hello</p>
--a--
""",
    "no text": "\n",
}

HEAD = """\
Received: from a.example.org\n\tby b.example.net; Thu, 12 Feb 2026 12:40:07 +0000
From: =?utf-8?q?Zo=C3=AB?= <zoe@example.org>
To: "The desk" <desk+1@parse.example.com>, other@example.com
Cc: boss@example.org
Subject: =?utf-8?q?Re=3A_Caf=C3=A9?=
Date: Thu, 12 Feb 2026 13:40:01 +0100
Message-ID: <2@example.org>
In-Reply-To: <1@example.org>
References: <0@example.org> <1@example.org>
X-Spam-Flag: YES
MIME-Version: 1.0
"""


def read(posted: MultipartForm) -> InboundMessage:
    return read_post(read_form(BytesIO(posted.body()), posted.content_type)).message


def agreed(message: InboundMessage) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(message, name) for name in AGREED}
    for name in FILES:
        values[name] = [described(file) for file in getattr(message, name)]
    return values | {"content_id_map": {key: described(file) for key, file in message.content_id_map.items()}}


def described(file: InboundMessage) -> tuple[object, ...]:
    content = file.get_content_bytes(), file.get_content_text()
    inner = [part.items() for part in file.walk() if part is not file]
    # Parsed mode has no folders in the names of files.
    name = re.split(r"[/\\]", file.get_filename() or "")[-1]
    return (name.strip(".") and name, file.get_content_type(), file.content_id, *content, inner)


@pytest.mark.parametrize("spam", [None, 6.5])
@pytest.mark.parametrize("name", MAILS)
def test_both_modes_agree_about_a_mail_of_a_mail_program(name: str, spam: float | None) -> None:
    source = (HEAD + MAILS[name]).replace("\n", "\r\n").encode()
    envelope: dict[str, Any] = {"envelope_from": "b+zoe@example.org", "envelope_to": ["desk+1@p.example.com"]}
    raw, parsed = (
        agreed(read(mode(source, **envelope, spam=spam)))
        for mode in (inbound_form.raw_form, inbound_form.parsed_form)
    )
    assert parsed == raw


def test_each_agreed_attribute_has_a_value_in_the_mails() -> None:
    """Or the modes would agree about nothing."""
    seen: set[str] = set()
    for mail in MAILS.values():
        source = (HEAD + "Bcc: d@example.org\n" + mail).encode()
        values = agreed(read(inbound_form.parsed_form(source, spam=6.5)))
        seen |= {name for name, value in values.items() if value}
    assert seen == values.keys()


def test_the_docs_list_the_agreed_attributes() -> None:
    docs = (Path(__file__).parents[4] / "docs" / "inbound.md").read_text()
    section = docs.partition("\n### Raw and parsed mode\n")[2].partition("\n\n- ")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", section)) == {*AGREED, *FILES, "content_id_map"}


words = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.just(" "), max_size=30)
# An empty body of a mail with the other body is None in parsed mode: SendGrid's form may have an empty field
# for a missing body.
lines = st.lists(words, max_size=4).map("\n".join).filter(bool)
urls = st.sampled_from(["", '<img src="cid:id0">', "<img src='cid:id1'>", '<p style="a: url(cid:id2)">'])
content_types = st.sampled_from(["image/png", "application/pdf", "text/csv", "text/plain", "text/html"])
attached_sources = st.lists(
    st.sampled_from(
        [
            *("Subject: x", " folded", "", "text", "--b", "--b--", "Content-Type: message/delivery-status"),
            "Content-Type: multipart/mixed; boundary=b",
        ]
    )
).map("\r\n".join)
attached_types = st.sampled_from(["message/rfc822", "message/delivery-status", "message/partial"])


@st.composite
def mails(draw: st.DrawFn) -> EmailMessage:
    mail = EmailMessage(policy=SMTP)
    mail["From"] = "Zoë <zoe@example.org>"
    mail["Subject"] = draw(words).strip()
    mail["Message-ID"] = "<1@example.org>"
    text, html = draw(st.none() | lines), draw(st.none() | lines)
    if text is not None or html is None:
        mail.set_content(text or "", charset=draw(st.sampled_from(["utf-8", "utf-16"])))
    if html is not None:
        add = mail.set_content if text is None else mail.add_alternative
        add(html + draw(urls) + draw(urls), subtype="html", cte=draw(st.sampled_from(["base64", "8bit"])))
    for number in range(draw(st.integers(0, 3))):
        part = EmailMessage(policy=SMTP)
        main, _, subtype = draw(content_types).partition("/")
        # An inline text may be a body, and which texts SendGrid takes for bodies is unknown.
        disposition = draw(st.sampled_from(["attachment"] if main == "text" else ["attachment", "inline"]))
        name = draw(words.map(str.strip).filter(bool))
        part.set_content(draw(st.binary(max_size=50)), main, subtype, disposition=disposition, filename=name)
        if draw(st.booleans()):
            part["Content-ID"] = f"<id{number}>"
        if not mail.is_multipart():
            mail.make_mixed()
        mail.attach(part)
    if mail.is_multipart() and draw(st.booleans()):
        attached = EmailMessage(policy=SMTP)
        attached["Content-Type"] = "application/x-attached"
        attached.set_payload(draw(attached_sources))
        mail.attach(attached)
    return mail


@given(mails(), attached_types, st.none() | st.floats(-5, 20))
def test_both_modes_agree_about_any_mail(mail: EmailMessage, attached_type: str, spam: float | None) -> None:
    # The standard library would write the source of a message part anew.
    source = mail.as_bytes().replace(b"application/x-attached", attached_type.encode())
    raw, parsed = (
        agreed(read(mode(source, spam=spam))) for mode in (inbound_form.raw_form, inbound_form.parsed_form)
    )
    assert parsed == raw
