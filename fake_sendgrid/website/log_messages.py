"""The logs of a local SendGrid as messages of the control API."""

import msgspec

from fake_sendgrid import control_messages as messages
from fake_sendgrid import scenarios
from fake_sendgrid.inbound_webhook import InboundDelivery
from fake_sendgrid.posted_events import PostedEvents
from fake_sendgrid.request_log import AcceptedMail, LoggedRequest
from fake_sendgrid.responses import ApiResponse


def mail_message(mail: AcceptedMail, events: PostedEvents) -> messages.Mail:
    return messages.Mail(
        id=mail.x_message_id,
        at=mail.at,
        key=mail.key,
        sandbox=mail.sandbox,
        body=mail.body,
        recipients=[email for _, email in scenarios.recipients(mail.body)],
        events=[
            messages.PostedEvent(event=posted.event, at=posted.at, statuses=list(posted.statuses))
            for posted in events.of(mail.x_message_id)
        ],
    )


def request_message(request: LoggedRequest) -> messages.Request:
    return messages.Request(
        at=request.at,
        key=request.key,
        status=request.status,
        accepted=request.response.accepts,
        mail=request.mail,
        errors=error_texts(request.response),
    )


def error_texts(response: ApiResponse) -> list[str]:
    """The messages of an error response; empty for another response."""
    try:
        errors = msgspec.json.decode(response.body)["errors"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return []
    return [
        f"{error['field']}: {error['message']}" if error["field"] else error["message"] for error in errors
    ]


def inbound_message(delivery: InboundDelivery) -> messages.InboundMail:
    fields = {part.name: part.value.decode(errors="replace") for part in delivery.form.parts}
    return messages.InboundMail(
        at=delivery.at,
        sender=fields.get("from", ""),
        to=fields.get("to", ""),
        subject=fields.get("subject", ""),
        in_reply_to=delivery.in_reply_to,
        statuses=list(delivery.statuses),
    )
