"""A project's own code that sends mail, run in a process of its own: `python -m ... NAME ARGUMENTS`.

Arguments and answer are JSON.
"""

import json
import sys
import time
from typing import Any

import django
from django.db import transaction

django.setup()

from django.core.mail import EmailMessage  # noqa: E402

from sending_app.message import SendGridMessage  # noqa: E402
from workers.tracing import export_spans  # noqa: E402


def send(to: list[str], **message: Any) -> dict[str, Any]:
    """Send one message; answer the ids by address."""
    return _send(SendGridMessage(**{**_USUAL, "to": to, **message}))


def send_traced(to: list[str]) -> dict[str, Any]:
    """Send one message, and export the span."""
    export_spans()
    return send(to)


def send_many(mails: list[list[str]]) -> dict[str, Any]:
    """Plain messages of Django's, one after the other, each committed by itself."""
    ids: dict[str, Any] = {}
    for to in mails:
        ids |= _send(EmailMessage(to=to, **_USUAL))
    return ids


def send_and_roll_back(to: list[str]) -> dict[str, Any]:
    """The mail is as good as sent, and then the transaction it is part of is undone."""
    ids: dict[str, Any] = {}
    try:
        with transaction.atomic():
            ids = _send(SendGridMessage(**_USUAL, to=to))
            raise ZeroDivisionError
    except ZeroDivisionError:
        return ids


def campaign(recipients: int, bulk: bool | None = None) -> dict[str, Any]:
    """One merge to so many; answer how many ids there are, and how long it took."""
    to = [f"reader{number:06d}@example.com" for number in range(recipients)]
    message = SendGridMessage(
        **_USUAL,
        to=to,
        template_id="d-spring",
        merge_data={address: {"number": number} for number, address in enumerate(to)},
        bulk=bulk,
    )
    began = time.monotonic()
    message.send()
    return {"ids": len(message.anymail_status.message_id), "seconds": time.monotonic() - began}


_USUAL: dict[str, Any] = {"subject": "News", "body": "There is news.", "from_email": "shop@example.com"}


def _send(message: Any) -> dict[str, Any]:
    message.send()
    return {address: status.message_id for address, status in message.anymail_status.recipients.items()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))))
