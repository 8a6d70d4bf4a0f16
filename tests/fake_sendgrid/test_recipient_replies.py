"""A reply has the headers and the quote that a mail program writes."""

import json
import random
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from fake_sendgrid import scenarios
from fake_sendgrid.inbound_form import parsed_form
from fake_sendgrid.recipient_replies import RecipientReplies, reply_to
from fake_sendgrid.request_log import AcceptedMail, RequestLog
from fake_sendgrid.request_validation import faults
from tests.support.fake_sendgrid.api_requests import mail_body

AT = 1_780_000_000
BASE = "mQy1cO5bTPKd3p4gWb0aXw"


def accepted(body: dict[str, Any], base: str = BASE) -> AcceptedMail:
    assert not faults(body, AT)
    return AcceptedMail(
        body=body, raw=json.dumps(body).encode(), x_message_id=base, key=None, at=AT, sandbox=False
    )


def text(body: dict[str, Any]) -> str:
    return str(reply_to(accepted(body), "Yes.").get_content())


def test_a_reply_goes_from_the_recipient_to_the_sender() -> None:
    reply = reply_to(accepted(mail_body("ada@example.com")), "Yes, please.")
    assert (reply["From"], reply["To"]) == ("ada@example.com", "The shop <shop@example.org>")
    assert reply["Subject"] == "Re: Your order"
    assert reply["In-Reply-To"] == reply["References"] == f"<{BASE}@geopod-ismtpd-3>"
    assert reply["Message-ID"].endswith("@example.com>")
    assert parsedate_to_datetime(reply["Date"]).tzinfo
    assert reply.get_content() == (
        "Yes, please.\n\n"
        "On Thu, 28 May 2026 at 20:26, The shop <shop@example.org> wrote:\n> It is on its way.\n"
    )


def test_a_reply_from_and_to_a_quoted_address_keeps_the_address() -> None:
    reply = reply_to(accepted(mail_body('"a..b"@example.com', reply_to={"email": '"c d"@example.org'})), "")
    # The header objects of the standard library drop the first one's quotes.
    assert b'From: "a..b"@example.com\nTo: "c d"@example.org\n' in bytes(reply)


def test_a_reply_refers_to_the_message_id_of_the_events() -> None:
    body = mail_body(headers={"Message-Id": "<own@example.org>"})
    assert reply_to(accepted(body), "")["References"] == "<own@example.org>"


def test_the_replying_recipient_can_be_chosen() -> None:
    one = {"to": [{"email": "a@example.com"}], "cc": [{"email": "B@example.com"}]}
    other = {"to": [{"email": "c@example.com"}], "subject": "Yours"}
    taken = accepted(mail_body(personalizations=[one, other]))
    assert reply_to(taken, "", recipient="b@example.com")["From"] == "B@example.com"
    reply = reply_to(taken, "", recipient="c@example.com")
    assert (reply["From"], reply["Subject"]) == ("c@example.com", "Re: Yours")


def test_only_a_recipient_can_reply() -> None:
    with pytest.raises(ValueError, match="only a recipient"):
        reply_to(accepted(mail_body()), "", recipient="eve@example.com")


@pytest.mark.parametrize(
    ("root", "to"),
    [
        ({"reply_to": {"email": "a@x.example", "name": "Zoë, the help"}}, '"Zoë, the help" <a@x.example>'),
        ({"reply_to": {"email": "jörg@x.example", "name": "two\nlines"}}, "two lines <jörg@x.example>"),
        (
            {"reply_to_list": [{"email": "a@x.example"}, {"email": "b@x.example", "name": "B"}]},
            "a@x.example, B <b@x.example>",
        ),
    ],
)
def test_a_reply_goes_to_the_reply_to_address(root: dict[str, Any], to: str) -> None:
    assert reply_to(accepted(mail_body(**root)), "")["To"] == to


def test_a_reply_goes_to_the_from_of_its_personalization() -> None:
    one = {"to": [{"email": "a@example.com"}], "from": {"email": "ann@example.org"}}
    assert reply_to(accepted(mail_body(personalizations=[one])), "")["To"] == "ann@example.org"


@pytest.mark.parametrize(
    ("subject", "answered"), [("RE: order", "RE: order"), ("a\r\nb", "Re: a b"), (..., "Re:")]
)
def test_re_is_added_to_the_subject_once(subject: Any, answered: str) -> None:
    template = {"template_id": "d-0123456789abcdef0123456789abcdef"} if subject is ... else {}
    assert reply_to(accepted(mail_body(subject=subject, **template)), "")["Subject"] == answered


def test_the_text_is_quoted_rather_than_the_html() -> None:
    html = {"type": "text/html", "value": "<p>One &amp; two</p>\n<p>three</p>"}
    plain = {"type": "text/plain", "value": "one\n\n> earlier"}
    assert text(mail_body(content=[plain, html])).endswith(" wrote:\n> one\n> \n> > earlier\n")
    assert text(mail_body(content=[html])).endswith(" wrote:\n> One & two\n> three\n")


def test_a_recipient_replies_once_after_opening() -> None:
    log = RequestLog(None)
    body = mail_body("open@example.com", "reply.ann@example.com", "Reply.bob@example.com")
    log.add_accepted(accepted(mail_body("reply.ann@example.com"), base="a" * 22))
    log.add_accepted(accepted(body))
    events = scenarios.events(body, BASE, AT, random.Random(1))
    replies = RecipientReplies(log)
    found = list(replies.to(events))
    assert [reply["From"] for reply in found] == ["reply.ann@example.com", "Reply.bob@example.com"]
    assert {reply["References"] for reply in found} == {f"<{BASE}@geopod-ismtpd-3>"}
    assert list(replies.to(events)) == []


def test_a_forgotten_mail_gets_no_reply() -> None:
    body = mail_body("reply@example.com")
    assert (
        list(RecipientReplies(RequestLog(None)).to(scenarios.events(body, BASE, AT, random.Random(1)))) == []
    )


@pytest.mark.parametrize(
    "odd",
    [
        {"subject": "\ud83d order"},
        {"from": {"email": "shop@example.org", "name": "\ud83d shop"}},
        {"content": [{"type": "text/plain", "value": "\ud83d one"}]},
        {"headers": {"Message-ID": "<\ud83d\r\none@example.org>"}},
    ],
)
def test_a_mail_that_no_server_could_send_gets_a_reply(odd: dict[str, Any]) -> None:
    parsed_form(reply_to(accepted(mail_body(**odd)), "Yes \ud83d."))
