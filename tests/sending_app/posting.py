"""Posts to the double, as a worker makes them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fake_sendgrid.server import FakeSendGrid
from sending_app import claims, delivery
from sending_app.claims import Taken
from sending_app.client import Outcome, Verdict
from sending_app.models import Part
from tests.sending_app.events import FIRST

KEY = "SG.fake"


@contextmanager
def double(anymail: Callable[..., None], **how: Any) -> Iterator[FakeSendGrid]:
    """A SendGrid that the settings name."""
    with FakeSendGrid(**how) as sendgrid:
        anymail(SENDGRID_API_KEY=KEY, SENDGRID_API_URL=sendgrid.url, REQUESTS_TIMEOUT=5)
        yield sendgrid


def take(lane: Part.Lane = Part.Lane.MAIL) -> Taken:
    taken = claims.take(lane)
    assert taken
    return taken


def deliver(lane: Part.Lane = Part.Lane.MAIL, seconds: float = 60) -> dict[str, int]:
    """How many came to what."""
    return dict(delivery.deliver(lane, seconds, call_another=lambda: None))


def accepted(x_message_id: str = FIRST) -> Outcome:
    return Outcome(Verdict.ACCEPTED, 202, x_message_id)


def came_to(verdict: Verdict, detail: str = "SendGrid's own words") -> Outcome:
    return Outcome(verdict, detail=detail)
