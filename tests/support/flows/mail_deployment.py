"""A deployment that sends mail to the double."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from celery import Celery
from redis import Redis
from requests import RequestException

from devstack.process import Process, wait_for
from devstack.stack import EVENT_QUEUES, INBOUND_QUEUES, MAIL_QUEUES, ROOT
from devstack.valkey import Valkey
from fake_sendgrid.request_log import AcceptedMail
from fake_sendgrid.server import FakeSendGrid
from fake_sendgrid.webhook_sender import event_batch
from tests.support.flows.databases import DatabaseTemplate
from tests.support.flows.deployment import LONG_AGO, PATIENCE, STREAM, Deployment
from tests.support.preloaded import run

API_KEY = "SG.fake"

READER = "reader@example.com"

#: Seconds. A mail of unknown outcome is sent again only if events came in each fifth of the wait: it leaves a
#: slow machine the time to take them. `pass_time` leaves four fifths of the wait.
UNKNOWN_WAIT = 25


class PartRow(NamedTuple):
    """A part as the database has it."""

    state: str
    attempts: int
    unknown_outcomes: int
    seen: bool
    sent_twice: bool
    error: str


class MailDeployment(Deployment):
    def __init__(
        self, folder: Path, valkey: Valkey, database_url: str, template: DatabaseTemplate | None = None
    ) -> None:
        super().__init__(folder, valkey, database_url, template)
        self.sendgrid = FakeSendGrid(sender=self.sender, webhook_url=self.stack.webhook_url)
        self.configure(
            SENDGRID_API_KEY=API_KEY,
            SENDGRID_API_URL=self.sendgrid.url,
            SEND_UNKNOWN_WAIT=UNKNOWN_WAIT,
            DJANGO_EXTRA_APPS="tests.support.flows.receivers_app",
        )

    def worker(self, *options: str, name: str = "worker") -> Process:
        """A worker for events alone."""
        return self._keep(self.stack.worker("-B", *options, name=name, queues=EVENT_QUEUES + INBOUND_QUEUES))

    def mailer(self, *options: str, name: str = "mailer", queues: tuple[str, ...] = MAIL_QUEUES) -> Process:
        """A worker for mail alone, with beat inside."""
        return self._keep(self.stack.mailer("-B", *options, name=name, queues=queues))

    def mailer_without_beat(self, *options: str) -> Process:
        return self._keep(self.stack.mailer(*options))

    def stop(self) -> None:
        self.sendgrid.close()
        super().stop()

    # --- Mail ---

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Run one of the `senders` in a process of its own; return its answer."""
        sender = (
            sys.executable,
            "-m",
            "tests.support.flows.receivers_app.senders",
            name,
            json.dumps(arguments),
        )
        done = run(sender, self.stack.env, ROOT)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def send_confirmed_mail(self) -> str:
        """Send a mail, wait until its first events are stored; return its id."""
        mailer = self.mailer(name="first-mailer")
        (message_id,) = self.call("send", to=[READER]).values()
        self.wait_until(self.all_confirmed, "a mail heard of")
        mailer.stop()
        return str(message_id)

    @contextmanager
    def posting_open_events(self, message_id: str) -> Iterator[None]:
        """Meanwhile SendGrid posts events of the mail, thrice a second. Refused ones are not repeated."""
        over = threading.Event()

        def post() -> None:
            while not over.wait(0.3):
                with suppress(RequestException):
                    self.post_open_event(message_id)

        thread = threading.Thread(target=post)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def post_open_event(self, message_id: str) -> int:
        """The status of a post with one open event of the mail."""
        opened = {"event": "open", "email": READER, "anymail_id": message_id}
        event = {**opened, "timestamp": int(time.time()), "sg_event_id": uuid4().hex}
        return self.sender.post(self.sendgrid.webhook_url or "", event_batch([event])).status_code

    def accepted(self, value: str) -> list[AcceptedMail]:
        """The requests SendGrid has taken that bear this id, or go to this address."""
        return self.sendgrid.accepted_for(value)

    def parts(self) -> list[PartRow]:
        return self._parts("ORDER BY id")

    def part_to(self, address: str) -> PartRow:
        """The one that goes to this address."""
        of_recipient = f"SELECT mail_id FROM sending_app_recipient WHERE address = '{address}'"
        (found,) = self._parts(f"WHERE id IN ({of_recipient})")
        return found

    def _parts(self, which: str) -> list[PartRow]:
        found = self.query(
            f"SELECT state, attempts, unknown_outcomes, first_event_at, sent_twice, error "
            f"FROM sending_app_mail {which}"
        )
        return [
            PartRow(state, attempts, unknowns, seen_at is not None, bool(twice), error)
            for state, attempts, unknowns, seen_at, twice, error in found
        ]

    def states(self) -> list[str]:
        return [part.state for part in self.parts()]

    def all_confirmed(self) -> bool:
        """SendGrid has accepted every part, and events of each have come."""
        return all(part.state == "accepted" and part.seen for part in self.parts())

    def statuses(self) -> dict[str, str]:
        """Each recipient's, by address."""
        return dict(self.query("SELECT address, status FROM sending_app_recipient"))

    def ids(self) -> set[str]:
        return {
            str(UUID(str(found))) for (found,) in self.query("SELECT message_id FROM sending_app_recipient")
        }

    def broker(self) -> "closing[Redis]":
        """The Redis that carries wake-ups."""
        return closing(Redis.from_url(self.valkey.url(1)))

    # --- Time ---

    def wait_for_states(self, *states: str) -> None:
        self.wait_until(lambda: self.states() == list(states), f"parts {', '.join(states)}")

    def pass_time(self) -> None:
        """Leases end, delays are over, and so is the wait for events but for four fifths of it."""
        due = f"UPDATE sending_app_mail SET due = '{LONG_AGO}' WHERE state"
        self.execute(f"{due} IN ('waiting', 'unknown')")
        # Not those that somebody alive is at: nobody has been at one for longer.
        since = f"{datetime.now(UTC) - timedelta(seconds=3):%Y-%m-%d %H:%M:%S}+00"
        self.execute(f"{due} = 'posting' AND attempted_at < '{since}'")
        self.execute(f"UPDATE sending_app_opencircuit SET probe_at = '{LONG_AGO}'")
        self.tick_now()

    def wait_for_tick(self, mailer: Process) -> None:
        """Whatever is due by now has been seen."""
        self.tick_now()
        self.wait_for_end_of("sending.tick", by=mailer)

    def tick_now(self) -> None:
        """As beat does every few seconds; and whoever looks next is not too early."""
        with self.redis() as redis:
            redis.delete(*(f"{STREAM}:{name}" for name in ("sending-tick", "sending-reconcile")))
        with Celery(broker=self.valkey.url(1), set_as_current=False) as beat:
            beat.send_task("sending.tick", queue=MAIL_QUEUES[0], ignore_result=True)

    def pass_time_until(self, condition: Callable[[], object], what: str) -> None:
        """Let time pass until the condition holds."""
        deadline = time.monotonic() + PATIENCE
        while True:
            self.pass_time()
            try:
                wait_for(condition, seconds=1, what=what)
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise AssertionError(f"{what}: never\n{self.state()}") from None
            else:
                return

    def state(self) -> str:
        return f"parts {self.parts()}\nrequests {self.sendgrid.requests}\n{super().state()}"
