"""A worker posting to the double, step by step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from fake_sendgrid.server import FakeSendGrid
from sending_app.api.client import SendResult
from sending_app.delivery import leases, sender
from sending_app.delivery.leases import LeasedMail
from sending_app.exceptions import Outcome
from sending_app.models import Mail
from tests.support.sending.mail_events import FIRST_REQUEST

API_KEY = "SG.fake"


@contextmanager
def sendgrid_double(anymail: Callable[..., None], **how: Any) -> Iterator[FakeSendGrid]:
    """A running double that the settings name."""
    with FakeSendGrid(**how) as sendgrid:
        anymail(SENDGRID_API_KEY=API_KEY, SENDGRID_API_URL=sendgrid.url, REQUESTS_TIMEOUT=5)
        yield sendgrid


def take_lease(lane: Mail.Lane = Mail.Lane.MAIL) -> LeasedMail:
    taken = leases.acquire(lane)
    assert taken
    return taken


def deliver(lane: Mail.Lane = Mail.Lane.MAIL, seconds: float = 60) -> dict[str, int]:
    """Post for one lane; return the number of each outcome."""
    return dict(sender.post_due_mails(lane, seconds, wake_another=lambda: None))


def write_result(lease: LeasedMail, result: SendResult) -> None:
    """Record a result, as a worker does after the post."""
    sender.unwritten.write(partial(sender._record, lease, result))


def accepted_outcome(x_message_id: str = FIRST_REQUEST) -> SendResult:
    return SendResult(Outcome.ACCEPTED, 202, x_message_id)


def outcome_of(outcome: Outcome, detail: str = "SendGrid's own words") -> SendResult:
    return SendResult(outcome, detail=detail)
