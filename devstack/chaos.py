"""`./dev chaos`: puts a deployment under load, breaks its Valkey and kills its workers.

Events are posted and mails sent throughout. At the end each event and mail must have been stored, received
and sent once, and no worker may be wedged. The seed determines the faults and the events.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg

from devstack.fault_injection import FAULT_KINDS, EventPoster, FaultInjector, plan_faults
from devstack.postgres import Postgres
from devstack.process import Process
from devstack.stack import Stack
from devstack.stalls import StallMonitor
from devstack.supervisor import Supervisor
from devstack.valkey import Valkey
from devstack.work_log import RECEIVER_CALLS, SENT_MAILS, STOP
from fake_sendgrid.event_webhook import EventPost
from fake_sendgrid.server import FakeSendGrid

#: Seconds from one mail to the next.
_MAIL_EVERY = 0.5

#: Seconds to finish all work after the last fault. A mail whose worker was killed during its post waits for
#: its lease, and then for SEND_UNKNOWN_WAIT.
_SETTLE_TIMEOUT = 300

#: The longest stall of a worker should stay below this number of seconds.
_STALL_GOAL = 15


@dataclass(frozen=True)
class Figures:
    """What became of the load: counted in the database, `devstack.work_log` and fake_sendgrid."""

    events_posted: int
    events_stored: int
    events_lost: int
    events_stored_twice: int
    events_pending: int
    events_dead: int
    receiver_calls: int
    receivers_not_called: int
    receivers_called_again: int
    mails_sent: int
    mails_accepted: int
    #: Neither accepted nor parked: nothing will send them.
    mails_lost: int
    mails_parked: int
    mails_sent_twice: int

    @property
    def is_settled(self) -> bool:
        return not (self.events_lost or self.events_pending or self.receivers_not_called or self.mails_lost)


def main(argv: list[str]) -> int:
    options = _options(argv)
    folder = Path(tempfile.mkdtemp(prefix="pipeline-chaos-"))
    with ExitStack() as stack:
        postgres = stack.enter_context(Postgres(folder))
        valkey = stack.enter_context(Valkey(folder / "valkey"))
        sendgrid = stack.enter_context(
            FakeSendGrid(
                delay=0.05, seed=options.seed, on_post=lambda post: _record_posted_events(post, poster)
            )
        )
        deployment = Stack(folder, _environment(folder, postgres, valkey, sendgrid))
        poster = EventPoster(sendgrid.sender, deployment.webhook_url, options.seed)
        sendgrid.webhook_url = deployment.webhook_url
        print(
            f"{options.faults} faults in {options.minutes:g} minutes, seed {options.seed} "
            f"({valkey.version}, {postgres.version}). Logs: {folder}",
            flush=True,
        )
        deployment.manage("migrate", "--verbosity", "0")
        supervisor = stack.enter_context(Supervisor(deployment))
        stalls = stack.enter_context(StallMonitor(supervisor, valkey, folder, options.wedged_after))
        stack.enter_context(poster)
        mails = stack.enter_context(_sender_of_mails(deployment))
        injector = FaultInjector(valkey, supervisor, stalls)

        def figures() -> Figures:
            return _figures(postgres.url, folder, poster, sendgrid)

        def say(now: float) -> None:
            print(_progress(now, injector.injected, figures(), stalls, supervisor), flush=True)

        injector.run(plan_faults(options.faults, options.minutes * 60, options.seed, options.kinds), say)
        poster.stop()
        (folder / STOP).touch()
        if mails.wait(60):
            raise RuntimeError(f"the sender of mails failed:\n{mails.output()[-2000:]}")
        over = time.monotonic() + _SETTLE_TIMEOUT
        with suppress(TimeoutError):
            sendgrid.wait_until_posted(_SETTLE_TIMEOUT)
        while not figures().is_settled and time.monotonic() < over:
            time.sleep(1)  # counting is slow, and the workers need the CPU
        good = _report(injector.injected, figures(), stalls, supervisor)
    if not good:
        print(f"The logs are in {folder}.", flush=True)
        return 1
    shutil.rmtree(folder)
    return 0


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(FAULT_KINDS))
    parser.add_argument("--wedged-after", type=float, default=90, metavar="SECONDS")
    options = parser.parse_args(argv)
    if strange := set(options.kinds) - FAULT_KINDS.keys():
        parser.error(f"there is no fault {', '.join(sorted(strange))}; there are {', '.join(FAULT_KINDS)}")
    return options


def _environment(folder: Path, postgres: Postgres, valkey: Valkey, sendgrid: FakeSendGrid) -> dict[str, str]:
    return {
        "DATABASE_URL": postgres.url,
        "REDIS_URL": valkey.url(0),
        "CELERY_BROKER_URL": valkey.url(1),
        "DEFAULT_FROM_EMAIL": "The shop <shop@example.com>",
        "DJANGO_EXTRA_APPS": "devstack.work_log",
        "WORK_LOG_FOLDER": str(folder),
        "WORKER_WATCHDOG": "exit",  # the supervisor restarts what exits
        # Leases are derived from these: the work of a killed worker is recovered a minute later.
        "RECEIVER_TIME_LIMIT": "1",
        "REQUESTS_TIMEOUT": "5",
        "SEND_UNKNOWN_WAIT": "61",
        "SENDGRID_API_KEY": "SG.fake",
        "SENDGRID_API_URL": sendgrid.url,
        "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY": sendgrid.public_key,
    }


def _record_posted_events(post: EventPost, poster: EventPoster) -> None:
    """fake_sendgrid has posted events of mails."""
    if post.succeeded:
        poster.add_posted(event["sg_event_id"] for event in post.events)


def _sender_of_mails(deployment: Stack) -> Process:
    return deployment.python(
        "mails", f"from devstack.work_log.mails import send_until_stopped; send_until_stopped({_MAIL_EVERY})"
    )


def _figures(database_url: str, folder: Path, poster: EventPoster, sendgrid: FakeSendGrid) -> Figures:
    with psycopg.connect(database_url) as connection:

        def column(sql: str) -> list[Any]:
            return [value for (value,) in connection.execute(sql).fetchall()]

        # Read the input before its results: both grow meanwhile.
        posted, sent = poster.posted, _lines(folder / SENT_MAILS)
        stored = Counter(column("SELECT event_id FROM events_app_event"))
        (pending,) = column("SELECT count(*) FROM events_app_pendingdelivery WHERE state = 'pending'")
        (dead,) = column("SELECT count(*) FROM events_app_pendingdelivery WHERE state = 'dead'")
        # A parked mail may have been accepted, so it is not lost.
        parked = set(
            column(
                "SELECT r.message_id::text FROM sending_app_mail p JOIN sending_app_recipient r "
                "ON r.mail_id = p.id WHERE p.state = 'parked'"
            )
        )
    calls = _lines(folder / RECEIVER_CALLS)
    accepted = Counter(
        one["custom_args"]["anymail_id"]
        for mail in sendgrid.accepted
        for one in mail.body["personalizations"]
    )
    return Figures(
        events_posted=len(posted),
        events_stored=sum(stored.values()),
        events_lost=len(posted - stored.keys()),
        events_stored_twice=sum(stored.values()) - len(stored),
        events_pending=pending,
        events_dead=dead,
        receiver_calls=sum(calls.values()),
        receivers_not_called=len(stored.keys() - calls.keys()),
        receivers_called_again=sum(calls.values()) - len(calls),
        mails_sent=len(sent),
        mails_accepted=len(sent.keys() & accepted.keys()),
        mails_lost=len(sent.keys() - accepted.keys() - parked),
        mails_parked=len(parked),
        mails_sent_twice=sum(accepted.values()) - len(accepted),
    )


def _lines(file: Path) -> Counter[str]:
    return Counter(file.read_text().splitlines()) if file.exists() else Counter()


def _progress(
    now: float, done: Counter[str], found: Figures, stalls: StallMonitor, supervisor: Supervisor
) -> str:
    return (
        f"  {now / 60:4.1f} min  {sum(done.values())} faults  "
        f"events {found.events_posted} posted, {found.events_stored} stored  "
        f"mails {found.mails_sent} sent, {found.mails_accepted} accepted  "
        f"longest stall {max(stalls.longest.values()):.1f} s  ended by themselves {supervisor.ended.total()}"
    )


def _report(done: Counter[str], found: Figures, stalls: StallMonitor, supervisor: Supervisor) -> bool:
    """Print the table and a line of JSON. Return whether each figure is as expected."""
    longest = max(stalls.longest.values())
    must_be_none = {
        "events lost": found.events_lost,
        "events stored twice": found.events_stored_twice,
        "events still pending for a receiver": found.events_pending,
        "dead events": found.events_dead,
        "events that reached no receiver": found.receivers_not_called,
        "mails lost": found.mails_lost,
        "mails sent twice": found.mails_sent_twice,
        "workers wedged": stalls.wedged.total(),
    }
    print(f"\n  {'what happened':<44}{'count':>8}")
    rows: dict[str, object] = {
        **{f"fault: {FAULT_KINDS[kind].description}": done[kind] for kind in FAULT_KINDS if done[kind]},
        "events posted, those of mails included": found.events_posted,
        "events stored": found.events_stored,
        "receiver calls": found.receiver_calls,
        "receiver calls made again after a kill": found.receivers_called_again,
        "mails sent": found.mails_sent,
        "mails accepted": found.mails_accepted,
        "mails parked": found.mails_parked,
        **{f"{name} ended by itself": count for name, count in supervisor.ended.items()},
        **{f"longest stall of {name}, in s": f"{stall:.1f}" for name, stall in stalls.longest.items()},
    }
    for what, value in rows.items():
        print(f"  {what:<44}{value!s:>8}")
    for what, count in must_be_none.items():
        print(f"  {what:<44}{count:>8}  {'WRONG' if count else 'ok'}")
    print(f"  {'longest stall of a worker, in s':<44}{longest:>8.1f}  goal: under {_STALL_GOAL}\n")
    good = not any(must_be_none.values())
    answer = {
        "faults": dict(done),
        **asdict(found),
        "ended_by_themselves": dict(supervisor.ended),
        "wedged": dict(stalls.wedged),
        "longest_stall": round(longest, 1),
        "good": good,
    }
    print(json.dumps(answer), flush=True)
    return good
