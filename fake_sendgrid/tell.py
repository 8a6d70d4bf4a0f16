"""What the double tells the person at its terminal: a line for each mail, and for each post of events."""

import sys
from collections import Counter
from datetime import datetime

from fake_sendgrid.courier import Inbound
from fake_sendgrid.fates import recipients
from fake_sendgrid.ledger import Request
from fake_sendgrid.postman import Post

#: Recipients that are named in a mail's line.
_NAMED = 3


def of_request(request: Request) -> None:
    if request.mail is None:
        what = " ".join(request.answer.body.decode().split())
    else:
        emails = [email for _, email in recipients(request.mail)]
        more = f" and {len(emails) - _NAMED} more" if len(emails) > _NAMED else ""
        what = f"mail to {', '.join(emails[:_NAMED])}{more}"
    _line(request.status, what)


def of_post(post: Post) -> None:
    counted = Counter(event["event"] for event in post.events)
    _line(post.status, "events: " + ", ".join(f"{name} {count}" for name, count in counted.items()))


def of_inbound(inbound: Inbound) -> None:
    sender, to = (
        next((part.value.decode() for part in inbound.form.parts if part.name == name), "?")
        for name in ("from", "to")
    )
    _line(inbound.status, f"inbound mail from {sender} to {to}")


def _line(status: int | None, what: str) -> None:
    # In one piece: several threads tell.
    sys.stdout.write(f"{datetime.now().astimezone():%H:%M:%S}  {status or 'none'}  {what}\n")
    sys.stdout.flush()
