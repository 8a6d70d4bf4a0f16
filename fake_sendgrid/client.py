"""Starts a local SendGrid as a process, and controls it from tests.

    from fake_sendgrid import client

    with client.start() as double:
        ...  # send a mail to double.url
        assert double.mails[0].subject == "Hello"

The pytest fixture `fake_sendgrid` is the same. Mails, requests and posted events are `control_messages`.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import convert

from fake_sendgrid.control_connection import ControlConnection, ControlFailed
from fake_sendgrid.control_messages import (
    Fire,
    Held,
    Hold,
    InboundMail,
    Mail,
    Options,
    Plan,
    PostedEvent,
    Reply,
    Request,
    State,
    Suppress,
    Suppressed,
    Wait,
)

__all__ = [
    "Client",
    "ControlFailed",
    "HeldMail",
    "InboundMail",
    "Mail",
    "PostedEvent",
    "Request",
    "Suppressed",
    "start",
]

#: Imported last, so that no module of the package shadows another one. No `-m`: the working folder may hold a
#: package of the name of one that the process needs.
_PROGRAM = "import sys; sys.path.append(sys.argv[1]); from fake_sendgrid.background import main; main()"


@contextmanager
def start() -> Iterator["Client"]:
    """Start a local SendGrid on a free port, for the time of the `with` block.

    It accepts any API key and makes a new signing key. Raises RuntimeError if it does not start.
    """
    folder = Path(__file__).parents[1]
    process = subprocess.Popen(  # noqa: S603 (a program of this package)
        [sys.executable, "-P", "-c", _PROGRAM, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin
        assert process.stdout
        try:
            page_url = process.stdout.readline().strip()
            if not page_url:
                raise RuntimeError(
                    "the local SendGrid did not start; its error is in the standard error output"
                )
            yield Client(page_url)
        finally:
            process.stdin.close()
            # A process forked from this one may still hold the other copy of the pipe.
            process.terminate()


class HeldMail:
    """The next mail, whose request waits for `release`."""

    def __init__(self, connection: ControlConnection, number: int) -> None:
        self._connection = connection
        self._path = f"holds/{number}"

    def wait_until_arrived(self, seconds: float = 10) -> None:
        """Wait until the request is here. Raises TimeoutError."""
        self._connection.send("POST", f"{self._path}/wait", Wait(seconds=seconds), patience=seconds)

    def release(self) -> None:
        """Let the response go out."""
        self._connection.send("POST", f"{self._path}/release")


class Client:
    """Controls a local SendGrid at `page_url`. Requests that it refuses raise ControlFailed."""

    def __init__(self, page_url: str) -> None:
        #: A page with the mails, for a browser.
        self.page_url = page_url
        self._connection = ControlConnection(page_url)
        state = self._state()
        #: The setting SENDGRID_API_URL.
        self.url = state.url
        #: The verification key of both webhooks.
        self.public_key = state.public_key

    # What came

    @property
    def mails(self) -> list[Mail]:
        """The accepted mails, oldest first."""
        return convert(self._connection.send("GET", "mails"), list[Mail])

    @property
    def requests(self) -> list[Request]:
        """The requests to mail/send with their responses, refused ones included, oldest first."""
        return convert(self._connection.send("GET", "requests"), list[Request])

    @property
    def inbound_mails(self) -> list[InboundMail]:
        """The replies, oldest first."""
        return convert(self._connection.send("GET", "inbound"), list[InboundMail])

    @property
    def posted(self) -> dict[str, int]:
        """How many events of each kind the webhook has accepted, duplicates included."""
        return self._state().posted

    # Webhooks and options

    @property
    def webhook_url(self) -> str | None:
        """Where events are posted; without it they wait."""
        return self._state().webhook_url

    @webhook_url.setter
    def webhook_url(self, url: str | None) -> None:
        self._change(Options(webhook_url=url))

    @property
    def inbound_url(self) -> str | None:
        """Where replies are posted; without it nobody replies."""
        return self._state().inbound_url

    @inbound_url.setter
    def inbound_url(self, url: str | None) -> None:
        self._change(Options(inbound_url=url))

    @property
    def duplicates(self) -> float:
        """The share of events that are posted twice, from 0 to 1."""
        return self._state().duplicates

    @duplicates.setter
    def duplicates(self, share: float) -> None:
        self._change(Options(duplicates=share))

    @property
    def disorder(self) -> float:
        """The share of events that are posted later than newer ones, from 0 to 1."""
        return self._state().disorder

    @disorder.setter
    def disorder(self, share: float) -> None:
        self._change(Options(disorder=share))

    @property
    def delay(self) -> float:
        """Seconds between a mail and its events."""
        return self._state().delay

    @delay.setter
    def delay(self, seconds: float) -> None:
        self._change(Options(delay=seconds))

    def hold_events(self) -> None:
        """Post no events until `release_events`."""
        self._change(Options(hold_events=True))

    def release_events(self) -> None:
        """Post the events that waited, and all later ones at once."""
        self._change(Options(hold_events=False))

    # Responses to mails

    def next(  # noqa: PLR0913 (each has a name)
        self,
        *,
        status: int | None = 202,
        retry_after: float | None = None,
        accepts: bool | None = None,
        pause: float = 0,
        times: int = 1,
        recipient: str | None = None,
    ) -> None:
        """Plan the response to the next `times` valid mails, or to those of `recipient`.

        `status` of None closes the connection without a response. With `accepts` the mail is accepted all the
        same. `retry_after` are the seconds until a rate limit ends, `pause` those before the response.
        """
        plan = Plan(
            status=status,
            retry_after=retry_after,
            accepts=accepts,
            pause=pause,
            times=times,
            recipient=recipient,
        )
        self._connection.send("POST", "responses", plan)

    def refuse(self, *addresses: str) -> None:
        """Answer requests to these addresses with 400, which names the place of the address."""
        self._change(Options(refused=[*self._state().refused, *addresses]))

    def hold(self, *, after_accepting: bool = False) -> HeldMail:
        """Let the next valid mail wait for a response. With `after_accepting` it is accepted before."""
        held = self._connection.send("POST", "holds", Hold(after_accepting=after_accepting))
        return HeldMail(self._connection, convert(held, Held).id)

    # Events and replies

    def fire(self, event: str, mail: Mail, recipient: str | None = None, **fields: Any) -> dict[str, Any]:
        """Post an event of a recipient (default: the first recipient); return the event.

        `event` is a name of SendGrid's, such as "open" or "spamreport", or "blocked". `fields` replace fields
        of the event, such as `reason`.
        """
        fire = Fire(event=event, mail=mail.id, recipient=recipient or mail.recipients[0], fields=fields)
        return convert(self._connection.send("POST", "events", fire), dict[str, Any])

    def bounce(self, mail: Mail, recipient: str | None = None, **fields: Any) -> dict[str, Any]:
        """As `fire`."""
        return self.fire("bounce", mail, recipient, **fields)

    def reply(self, mail: Mail, text: str, recipient: str | None = None) -> None:
        """Post a recipient's reply to `inbound_url`."""
        reply = Reply(mail=mail.id, recipient=recipient or mail.recipients[0], text=text)
        self._connection.send("POST", "replies", reply)

    # Suppression lists

    @property
    def suppressions(self) -> list[Suppressed]:
        """The addresses on SendGrid's suppression lists."""
        return convert(self._connection.send("GET", "suppressions"), list[Suppressed])

    def suppress(self, name: str, email: str, created: int | None = None, **fields: str) -> None:
        """Put an address on a suppression list, such as "bounces" or "group:7".

        `created` are Unix seconds (default: now). `fields` are further fields of the entry, such as `reason`.
        """
        wanted = Suppress(list=name, email=email, created=created, fields=fields)
        self._connection.send("POST", "suppressions", wanted)

    def clear_suppressions(self) -> None:
        """Empty every suppression list, and forget the unsubscribe groups."""
        self._connection.send("DELETE", "suppressions")

    def wait_until_posted(self, seconds: float = 10) -> None:
        """Wait until the webhook has accepted (2xx) every event. Raises TimeoutError."""
        self._connection.send("POST", "wait", Wait(seconds=seconds), patience=seconds)

    def clear(self) -> None:
        """As at the start: without mails, events, planned responses, suppressions, webhooks and options."""
        self._connection.send("POST", "reset")

    def _state(self) -> State:
        return convert(self._connection.send("GET", ""), State)

    def _change(self, options: Options) -> None:
        self._connection.send("PATCH", "", options)
