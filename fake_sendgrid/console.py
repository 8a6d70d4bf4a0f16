"""What the double tells the person at its terminal: a line for each mail, and for each post of events."""

import sys
from collections import Counter
from datetime import datetime

from fake_sendgrid.event_webhook import EventPost
from fake_sendgrid.inbound_webhook import InboundDelivery
from fake_sendgrid.request_log import LoggedRequest
from fake_sendgrid.scenarios import recipients

#: Recipients that are named in a mail's line.
_SHOWN_RECIPIENTS = 3


def print_request(request: LoggedRequest) -> None:
    if request.mail is None:
        what = " ".join(request.answer.body.decode().split())
    else:
        emails = [email for _, email in recipients(request.mail)]
        more = f" and {len(emails) - _SHOWN_RECIPIENTS} more" if len(emails) > _SHOWN_RECIPIENTS else ""
        what = f"mail to {', '.join(emails[:_SHOWN_RECIPIENTS])}{more}"
    _print_line(request.status, what)


def print_event_post(post: EventPost) -> None:
    counted = Counter(event["event"] for event in post.events)
    _print_line(post.status, "events: " + ", ".join(f"{name} {count}" for name, count in counted.items()))


def print_inbound_delivery(inbound: InboundDelivery) -> None:
    sender, to = (
        next((part.value.decode() for part in inbound.form.parts if part.name == name), "?")
        for name in ("from", "to")
    )
    _print_line(inbound.status, f"inbound mail from {sender} to {to}")


def _print_line(status: int | None, what: str) -> None:
    # In one piece: several threads tell.
    sys.stdout.write(f"{datetime.now().astimezone():%H:%M:%S}  {status or 'none'}  {what}\n")
    sys.stdout.flush()
