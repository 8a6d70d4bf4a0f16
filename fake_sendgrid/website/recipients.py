"""The recipients of a mail, with the buttons that post an event or a reply."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from fake_sendgrid.request_log import AcceptedMail
from fake_sendgrid.rules.recipients import KINDS
from fake_sendgrid.server import FakeSendGrid
from fake_sendgrid.website import mail_parts
from fake_sendgrid.website.markup import Markup, fill, fill_each

#: Recipients with buttons. A batch may have 1,000.
_SHOWN_RECIPIENTS = 50

#: The buttons: an event and its word.
BUTTONS = {
    "open": "Open",
    "click": "Click",
    "bounce": "Bounce",
    "spamreport": "Complain",
    "unsubscribe": "Unsubscribe",
}

_RECIPIENTS = """<div class="card">$recipients</div>$more"""

_RECIPIENT = """<div class="recipient" id="recipient-$number"><div><strong><bdi>$name</bdi></strong>
<span class="dim">$kind</span></div>$data
<form class="buttons" method="post" action="/mails/$id/press">
<input type="hidden" name="token" value="$token"><input type="hidden" name="recipient" value="$email">
<input type="hidden" name="number" value="$number">$buttons$reply</form></div>
"""

_BUTTON = """<button name="event" value="$event">$word</button> """

_REPLY = """<details class="reply"><summary>Reply</summary><label><span>Text of the reply</span>
<textarea name="text" rows="3"></textarea></label>
<button name="event" value="reply" class="main">Send the reply</button></details>"""

_NO_REPLY = """<button disabled title="Set the URL for replies on the page Setup">Reply</button>"""

_DATA = """<details$open><summary>Personalization</summary><pre>$json</pre></details>"""

_MORE = """<p class="note">And $count more.</p>"""


class _Recipient(NamedTuple):
    personalization: Mapping[str, Any]
    #: to, cc or bcc.
    kind: str
    who: Mapping[str, Any]


def main(fake: FakeSendGrid, mail: AcceptedMail, token: str) -> Markup:
    recipients = list(_recipients(mail.body))
    left_out = len(recipients) - _SHOWN_RECIPIENTS
    return fill(
        _RECIPIENTS,
        recipients=fill_each(
            _RECIPIENT,
            (
                {
                    "id": mail.x_message_id,
                    "token": token,
                    "number": number,
                    "name": mail_parts.address(recipient.who),
                    "email": recipient.who["email"],
                    "kind": recipient.kind,
                    "data": _data(mail.body, recipient),
                    "buttons": _BUTTONS,
                    "reply": Markup(_REPLY if fake.inbound_url else _NO_REPLY),
                }
                for number, recipient in enumerate(recipients[:_SHOWN_RECIPIENTS])
            ),
        ),
        more=fill(_MORE, count=left_out) if left_out > 0 else "",
    )


def _recipients(body: Mapping[str, Any]) -> Iterator[_Recipient]:
    for personalization in body["personalizations"]:
        for kind in KINDS:
            for who in personalization.get(kind, []):
                yield _Recipient(personalization, kind, who)


def _data(body: Mapping[str, Any], recipient: _Recipient) -> Markup:
    """The personalization without the addresses. Of a mail without content it is all there is to see."""
    data = {name: value for name, value in recipient.personalization.items() if name not in KINDS}
    if not data:
        return Markup()
    text = mail_parts.readable_json(json.dumps(data).encode())
    return fill(_DATA, json=text, open="" if "content" in body else " open")


_BUTTONS = fill_each(_BUTTON, ({"event": event, "word": word} for event, word in BUTTONS.items()))
