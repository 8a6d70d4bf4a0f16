"""The demo of mails: sends a few, one of which gets no response, and waits for their events."""

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from devstack.process import wait_for
from devstack.row_counts import count_rows, print_comparison
from devstack.stack import Stack
from fake_sendgrid import responses
from fake_sendgrid.server import FakeSendGrid

#: Seconds for all of it.
PATIENCE = 120

KEY = "SG.fake"

#: The code of a project; it calls `example_app.mails`.
SEND = """
from example_app import mails
mails.announce_shipping({
    "ann@example.com": "12345", "bob@example.com": "54321", "open.eve@example.com": "77777",
})
mails.send_invoice("reply.carol@example.com", b"%PDF-1.7 " + bytes(1000))
mails.send_welcome("bounce.dave@example.com")
mails.send_welcome("erin@example.com")
"""

#: SendGrid accepts this mail, and the connection breaks before the response.
UNANSWERED = "erin@example.com"

MAILS, RECIPIENTS, BOUNCED = 4, 6, 1


@dataclass(frozen=True)
class Figures:
    """Figures from the database."""

    mails: int
    recipients: int
    accepted: int
    delivered: int
    bounced: int
    unknown: int
    unknown_settled: int
    sent_twice: int
    pending: int


def run(deployment: Stack, sendgrid: FakeSendGrid) -> tuple[dict[str, int], bool]:
    """Send the mails; return the figures, and whether they are as expected."""
    _send(deployment, sendgrid)
    print("Three are accepted. The outcome of the fourth is unknown until its events come:", flush=True)
    sendgrid.release_events()
    sendgrid.wait_until_posted(PATIENCE)
    found = _wait(
        deployment,
        lambda found: found.delivered + found.bounced == RECIPIENTS and not found.pending,
        "every mail delivered or bounced",
    )
    for number in range(1, MAILS + 1):
        subject, happened = _timeline(deployment.manage("outbox", "show", str(number)))
        print(f"\n  Mail {number}: {subject}\n{textwrap.indent(happened, '  ')}", flush=True)
    sent_twice = len(sendgrid.accepted) - MAILS
    good = print_comparison(
        ("mails sent", found.mails, MAILS),
        ("recipients", found.recipients, RECIPIENTS),
        ("delivered", found.delivered, RECIPIENTS - BOUNCED),
        ("bounced", found.bounced, BOUNCED),
        ("unknown, resolved by events", found.unknown_settled, 1),
        ("sent twice, counted at SendGrid", sent_twice, 0),
    )
    answer = {
        "mails": found.mails,
        "recipients": found.recipients,
        "delivered": found.delivered,
        "bounced": found.bounced,
        "unknown_settled": found.unknown_settled,
        "sent_twice": max(sent_twice, found.sent_twice),
    }
    return answer, good


def _send(deployment: Stack, sendgrid: FakeSendGrid) -> None:
    """Send all mails and hold their events."""
    print(
        f"Sending {MAILS} mails to {RECIPIENTS} recipients: a merge with a template, one with a file, "
        "one that bounces,\nand one that SendGrid accepts without a response.",
        flush=True,
    )
    sendgrid.hold_events()
    sendgrid.next(
        responses.accept_and_close_connection(), when=lambda mail: UNANSWERED in str(mail["personalizations"])
    )
    deployment.manage("shell", "--verbosity", "0", "-c", SEND)
    _wait(
        deployment,
        lambda found: found.accepted == MAILS - 1 and found.unknown == 1,
        "three accepted, one unknown",
    )


def _wait(deployment: Stack, is_finished: Callable[[Figures], bool], what: str) -> Figures:
    """Return the figures when `is_finished` holds for them, or when the time is over."""

    def finished() -> Figures | None:
        figures = _figures(deployment.env)
        return figures if is_finished(figures) else None

    try:
        return wait_for(finished, seconds=PATIENCE, what=what)
    except TimeoutError as timeout:
        print(timeout, flush=True)
        return _figures(deployment.env)


def _timeline(shown: str) -> tuple[str, str]:
    """Extract the subject and the timeline of a mail from the output of `outbox show`."""
    subject = next(
        (line.split(None, 1)[1] for line in shown.splitlines() if line.startswith("  subject")), ""
    )
    return subject or "(its template has the subject)", shown.partition("What happened (UTC)\n")[2].rstrip()


def _figures(env: Mapping[str, str]) -> Figures:
    tables = {
        "mails": "sending_app_outboxmessage",
        "recipients": "sending_app_recipient",
        "accepted": "sending_app_mail WHERE state = 'accepted'",
        "delivered": "sending_app_recipient WHERE status = 'delivered'",
        "bounced": "sending_app_recipient WHERE status = 'bounced'",
        "unknown": "sending_app_mail WHERE state = 'unknown'",
        "unknown_settled": "sending_app_mail WHERE state = 'accepted' AND unknown_outcomes > 0",
        "sent_twice": "sending_app_mail WHERE sent_twice",
        "pending": "events_app_pendingdelivery WHERE state = 'pending'",
    }
    return Figures(**count_rows(env, tables))
