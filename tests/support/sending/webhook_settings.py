"""The command for SendGrid's webhooks, the state that it leaves there, and answers that break it off."""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from django.core.management.base import CommandError

from fake_sendgrid import responses
from fake_sendgrid.responses import ApiResponse
from fake_sendgrid.server import FakeSendGrid
from tests.support.commands import output_of

#: Puts keys into the settings of the site.
Deploy: TypeAlias = Callable[..., None]

#: Seconds.
DAY = 24 * 3600

FAULTS: dict[str, Callable[[], ApiResponse]] = {
    "not carried out": responses.server_error,
    "carried out, then 503": lambda: responses.accept_and_respond(503),
    "carried out, then no answer": responses.accept_and_close_connection,
    "rate limit": lambda: responses.rate_limited(30),
}

run = partial(output_of, "sendgrid_webhooks")


def run_until_done(errors: list[str], *command: str) -> None:
    """Run the command with --apply, and once more after an error, which is added to the errors."""
    try:
        run(*command, "--apply")
    except CommandError as error:
        errors.append(str(error))
        run(*command, "--apply")


def webhook_states(sendgrid: FakeSendGrid) -> list[tuple[object, ...]]:
    """Of each webhook at SendGrid: its query, and whether it is enabled and signed."""
    return [
        (str(webhook["url"]).partition("?")[2], webhook["enabled"], "public_key" in webhook)
        for webhook in sendgrid.event_webhooks.all(with_status_change=True)["webhooks"]
        if webhook
    ]
