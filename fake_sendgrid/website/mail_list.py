"""The page of mails, newest first, with the requests that were refused and the inbound mails."""

from fake_sendgrid import scenarios
from fake_sendgrid.posted_events import PostedEvents
from fake_sendgrid.request_log import AcceptedMail, LoggedRequest
from fake_sendgrid.server import FakeSendGrid
from fake_sendgrid.website import mail_parts, setup_page, states
from fake_sendgrid.website.log_messages import error_texts, inbound_message
from fake_sendgrid.website.markup import Markup, fill, fill_each, join

#: Rows of each table.
_ROWS = 200
_NAMED_RECIPIENTS = 2

_MAIN = """<div data-live="/mails/list">$mails</div>"""

_MAILS = """<div class="bar"><h1>Mails</h1>
<form method="post" action="/clear"><input type="hidden" name="token" value="$token">
<button title="Forget all mails, events and inbound mails">Clear</button></form></div>
$notice<div class="card"><table class="rows"><thead><tr><th>Time</th><th>Mail</th><th>State</th></tr></thead>
<tbody>$rows</tbody></table></div>$more"""

_MAIL_ROW = """<tr><td class="time">$at</td><td class="subject"><a href="/mails/$id"><bdi>$subject</bdi></a>
<div class="to">to <bdi>$to</bdi></div></td><td><div class="states">$states</div></td></tr>
"""

_REFUSED_ROW = """<tr><td class="time">$at</td><td class="subject"><a href="/requests/$number">$error</a>
<div class="to"><bdi>$mail</bdi></div></td><td><div class="states"><span class="state bad">$answer</span>
</div></td></tr>
"""

_INBOUND = """<h2>Inbound mails posted</h2><div class="card"><table class="rows"><thead><tr><th>Time</th>
<th>Mail</th><th>Webhook</th></tr></thead><tbody>$rows</tbody></table></div>"""

_INBOUND_ROW = """<tr><td class="time">$at</td><td><bdi>$subject</bdi><div class="to"><bdi>$sender</bdi> to
<bdi>$to</bdi></div></td><td><div class="states">$answers</div></td></tr>
"""

_EMPTY = """<h1>No mail yet</h1><p>Set these values in your project and send a mail. It appears here at
once.</p>
$settings
<p>For events and replies, <a href="/setup">set the URLs of your webhooks</a>.</p>"""

_NO_WEBHOOK = (
    """<p class="note">Events wait: there is no webhook yet. <a href="/setup">Set its URL.</a></p>"""
)

_MORE = """<p class="note">The newest $shown of $all are shown.</p>"""


def main(fake: FakeSendGrid, events: PostedEvents, token: str) -> Markup:
    return fill(_MAIN, mails=mails(fake, events, token))


def mails(fake: FakeSendGrid, events: PostedEvents, token: str) -> Markup:
    """The part of the page that changes."""
    accepted = fake.accepted
    refused = [request for request in fake.requests if not request.response.accepts]
    if not accepted and not refused and not fake.received:
        return fill(_EMPTY, settings=setup_page.settings(fake))
    rows = [
        *((mail.at, _mail_row(mail, events)) for mail in accepted[-_ROWS:]),
        *((request.at, _refused_row(request)) for request in refused[-_ROWS:]),
    ]
    newest = sorted(rows, key=lambda row: -row[0])[:_ROWS]
    total = len(accepted) + len(refused)
    table = fill(
        _MAILS,
        token=token,
        notice=Markup(_NO_WEBHOOK) if accepted and not fake.webhook_url else "",
        rows=join(row for _, row in newest),
        more=fill(_MORE, shown=_ROWS, all=total) if total > _ROWS else "",
    )
    return join([table, _inbound(fake)])


def _mail_row(mail: AcceptedMail, events: PostedEvents) -> Markup:
    return fill(
        _MAIL_ROW,
        at=states.clock(mail.at),
        id=mail.x_message_id,
        subject=mail_parts.subject(mail.body),
        to=_recipients(mail),
        states=_states(mail, events),
    )


def _states(mail: AcceptedMail, events: PostedEvents) -> Markup:
    if mail.sandbox:
        return Markup('<span class="state plain">sandbox: no events</span>')
    posted = events.of(mail.x_message_id)
    if not posted:
        return Markup('<span class="state plain">no events yet</span>')
    refused = next((one.statuses for one in posted if not one.accepted), None)
    failed = (
        fill('<span class="state bad">webhook: $answer</span>', answer=states.answers(refused[-1:]))
        if refused
        else Markup()
    )
    return join([states.mail_states(one for one in posted if one.accepted), failed])


def _recipients(mail: AcceptedMail) -> str:
    emails = [email for _, email in scenarios.recipients(mail.body)]
    more = f" and {len(emails) - _NAMED_RECIPIENTS} more" if len(emails) > _NAMED_RECIPIENTS else ""
    return ", ".join(emails[:_NAMED_RECIPIENTS]) + more


def _refused_row(request: LoggedRequest) -> Markup:
    return fill(
        _REFUSED_ROW,
        at=states.clock(request.at),
        number=request_number(request),
        error=error_line(request),
        mail=f"not taken: {mail_parts.subject(request.mail)}" if request.mail else "not taken",
        answer=answer(request),
    )


def request_number(request: LoggedRequest) -> str:
    """What names the request in URLs: the microseconds of its arrival."""
    return str(int(request.at * 1_000_000))


def error_line(request: LoggedRequest) -> str:
    """The first error of a refused request."""
    if request.status is None:
        return "The connection was closed without an answer"
    errors = error_texts(request.response) or [states.phrase(request.status)]
    return f"{errors[0]} (and {len(errors) - 1} more)" if len(errors) > 1 else errors[0]


def answer(request: LoggedRequest) -> str:
    """The answer to a refused request in few words."""
    return "no answer" if request.status is None else f"refused {request.status}"


def _inbound(fake: FakeSendGrid) -> Markup:
    rows: list[dict[str, object]] = []
    for delivery in reversed(fake.received[-_ROWS:]):
        mail = inbound_message(delivery)
        rows.append(
            {
                "at": states.clock(mail.at),
                "subject": mail.subject or "(no subject)",
                "sender": mail.sender,
                "to": mail.to,
                "answers": states.answers(mail.statuses),
            }
        )
    return fill(_INBOUND, rows=fill_each(_INBOUND_ROW, rows)) if rows else Markup()
