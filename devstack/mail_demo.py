"""The demo of mails: sends a few, one of which gets no response, and waits for their events."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from devstack.process import wait_for
from devstack.row_counts import count_rows
from devstack.stack import Stack
from devstack.story import check, print_chapter, say, show
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
    say(
        "SendGrid has accepted three mails. The outcome of the fourth is unknown: the connection broke "
        "before SendGrid's answer. To send it again might send it twice. So it waits for SendGrid's events. "
        "These come now, and show that SendGrid has it:"
    )
    sendgrid.release_events()
    sendgrid.wait_until_posted(PATIENCE)
    found = _wait(
        deployment,
        lambda found: found.delivered + found.bounced == RECIPIENTS and not found.pending,
        "every mail delivered or bounced",
    )
    for number in range(1, MAILS + 1):
        _show_timeline(number, deployment.manage("outbox", "show", str(number)))
    sent_twice = len(sendgrid.accepted) - MAILS
    good = check(
        ("mails sent", found.mails, MAILS),
        ("recipients", found.recipients, RECIPIENTS),
        ("delivered", found.delivered, RECIPIENTS - BOUNCED),
        ("bounced", found.bounced, BOUNCED),
        ("of unknown outcome, resolved by its events", found.unknown_settled, 1),
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
    print_chapter(2, "Mails go out")
    say(
        f"The shop sends {MAILS} mails to {RECIPIENTS} recipients: shipping news to three customers, from a "
        "template; an invoice, with a file; a welcome to an address that does not exist; and a welcome after "
        "which the connection to SendGrid breaks."
    )
    print(flush=True)
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
        say(str(timeout))
        return _figures(deployment.env)


def _show_timeline(number: int, shown: str) -> None:
    """Print the subject and the timeline of a mail, from the output of `outbox show`."""
    subject = re.search(r"^  subject +(.+)$", shown, re.MULTILINE)
    print(flush=True)
    show(f"Mail {number}: {subject[1] if subject else 'Shipping news (its template has the subject)'}")
    for line in shown.partition("What happened (UTC)\n")[2].rstrip().splitlines():
        show(f"  {line.strip().partition(' ')[2]}")  # without the date


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
