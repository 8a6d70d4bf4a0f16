"""The events and replies of a mail, as they were posted, with the answers of the webhooks."""

import json

from fake_sendgrid import scenarios
from fake_sendgrid.events import message_id
from fake_sendgrid.posted_events import PostedEvents
from fake_sendgrid.request_log import AcceptedMail
from fake_sendgrid.server import FakeSendGrid
from fake_sendgrid.website import states
from fake_sendgrid.website.log_messages import inbound_message
from fake_sendgrid.website.markup import Markup, fill, fill_each, join

#: Events of the table. A batch may have thousands, and the page asks for them every second.
_ROWS = 200

_EVENTS = """<h2>Events</h2><div class="card"><table class="rows"><thead><tr><th>Time</th><th>Event</th>
<th>Webhook</th></tr></thead><tbody>$rows</tbody></table></div>$more"""

_MORE = """<p class="note">The newest $shown of $all are shown: $states</p>"""

_EVENT_ROW = """<tr><td class="time">$at</td><td><details><summary>$word<bdi class="to">$email</bdi>
</summary><pre>$event</pre></details></td><td><div class="states">$answers</div>$hint
</td></tr>
"""

_REPLIES = """<h2>Replies</h2><div class="card"><table class="rows"><thead><tr><th>Time</th><th>Reply</th>
<th>Webhook</th></tr></thead><tbody>$rows</tbody></table></div>"""

_REPLY_ROW = """<tr><td class="time">$at</td><td><span class="state seen">replied</span>
<bdi class="to">$sender</bdi></td><td><div class="states">$answers</div>$hint</td></tr>
"""

#: What to do about an answer of the webhook.
_HINTS = {
    400: "The webhook cannot read the post.",
    401: "The webhook wants a user and a password: write them into its URL.",
    403: "Wrong signature: set the verification keys of the page Setup in your project.",
    404: "Nothing is at this URL: compare it with your urls.py.",
    None: "Nothing listens at this URL: start your project.",
}


def main(fake: FakeSendGrid, events: PostedEvents, mail: AcceptedMail) -> Markup:
    """The events and the replies, newest first."""
    return join([_events(fake, events, mail), _replies(fake, mail)])


def _events(fake: FakeSendGrid, events: PostedEvents, mail: AcceptedMail) -> Markup:
    posted = events.of(mail.x_message_id)
    if not posted:
        return fill('<h2>Events</h2><p class="card pad dim">$why</p>', why=_why_no_events(fake, mail))
    rows: list[dict[str, object]] = [
        {
            "at": states.clock(one.at),
            "word": states.event_word(one),
            "email": one.event["email"],
            "event": json.dumps(one.event, indent=2, ensure_ascii=False),
            "answers": states.answers(one.statuses),
            "hint": _hint(one.statuses),
        }
        for one in reversed(posted[-_ROWS:])
    ]
    more = fill(_MORE, shown=_ROWS, all=len(posted), states=states.mail_states(posted))
    return fill(_EVENTS, rows=fill_each(_EVENT_ROW, rows), more=more if len(posted) > _ROWS else "")


def _why_no_events(fake: FakeSendGrid, mail: AcceptedMail) -> Markup:
    if mail.sandbox:
        return Markup("A mail in sandbox mode has no events.")
    if not fake.webhook_url:
        return Markup('The events wait: there is no webhook yet. <a href="/setup">Set its URL.</a>')
    return Markup("None yet.")


def _replies(fake: FakeSendGrid, mail: AcceptedMail) -> Markup:
    own = {
        message_id(mail.x_message_id, scenarios.headers(mail.body, personalization))
        for personalization in mail.body["personalizations"]
    }
    rows: list[dict[str, object]] = [
        {
            "at": states.clock(delivery.at),
            "sender": inbound_message(delivery).sender,
            "answers": states.answers(delivery.statuses),
            "hint": _hint(delivery.statuses),
        }
        for delivery in reversed(fake.received)
        if delivery.in_reply_to in own
    ]
    return fill(_REPLIES, rows=fill_each(_REPLY_ROW, rows)) if rows else Markup()


def _hint(statuses: list[int | None]) -> Markup:
    if not statuses or statuses[-1] not in _HINTS:
        return Markup()
    return fill('<div class="note">$hint</div>', hint=_HINTS[statuses[-1]])
