"""Prints a line for each request, each post of events, and each inbound mail."""

import sys
from collections import Counter
from datetime import datetime

from fake_sendgrid.event_webhook import EventPost
from fake_sendgrid.inbound_webhook import InboundDelivery
from fake_sendgrid.request_log import LoggedRequest
from fake_sendgrid.scenarios import recipients

#: Recipients named in the line of a mail.
_SHOWN_RECIPIENTS = 3


def print_request(request: LoggedRequest) -> None:
    if request.mail is None:
        text = " ".join(request.response.body.decode().split())
    else:
        emails = [email for _, email in recipients(request.mail)]
        more = f" and {len(emails) - _SHOWN_RECIPIENTS} more" if len(emails) > _SHOWN_RECIPIENTS else ""
        text = f"mail to {', '.join(emails[:_SHOWN_RECIPIENTS])}{more}"
    _print_line(request.status, text)


def print_event_post(post: EventPost) -> None:
    counted = Counter(event["event"] for event in post.events)
    _print_line(post.status, "events: " + ", ".join(f"{name} {count}" for name, count in counted.items()))


def print_inbound_delivery(delivery: InboundDelivery) -> None:
    sender, to = (
        next((part.value.decode() for part in delivery.form.parts if part.name == name), "?")
        for name in ("from", "to")
    )
    _print_line(delivery.status, f"inbound mail from {sender} to {to}")


def _print_line(status: int | None, text: str) -> None:
    # One write: several threads print.
    sys.stdout.write(f"{datetime.now().astimezone():%H:%M:%S}  {status or 'none'}  {text}\n")
    sys.stdout.flush()
