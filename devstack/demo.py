"""`./dev demo`: tells how events, mails and a reply pass through a deployment, and checks every figure.

`./dev demo --open` keeps the deployment running at the end, to look at the same data in the admin.
"""

import json
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from devstack import event_demo, inbound_demo, mail_demo, metrics_demo
from devstack.process import Process, wait_for
from devstack.stack import Stack
from devstack.story import say
from devstack.valkey import Valkey
from fake_sendgrid.event_webhook import PostingOptions
from fake_sendgrid.server import FakeSendGrid
from fake_sendgrid.website import site


def main(argv: list[str]) -> int:
    if argv not in ([], ["--open"]):
        print("usage: ./dev demo [--open]", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="pipeline-demo-"))
    try:
        good = _run(folder, stays_open=bool(argv))
    except (KeyboardInterrupt, SystemExit):
        shutil.rmtree(folder)
        raise
    if not good:
        print(f"The logs are in {folder}.", flush=True)
        return 1
    shutil.rmtree(folder)
    return 0


def _run(folder: Path, *, stays_open: bool) -> bool:
    """Run the demo; return whether each figure is as expected."""
    began = time.monotonic()
    with ExitStack() as stack:
        valkey = stack.enter_context(Valkey(folder / "valkey"))
        sendgrid = stack.enter_context(FakeSendGrid(posting=PostingOptions(duplicates=0.3, disorder=0.3)))
        site.add_to(sendgrid, keep=100)
        closed = folder / "crm-is-closed"
        closed.touch()
        deployment = stack.enter_context(Stack(folder, _environment(folder, valkey, sendgrid, closed)))
        sendgrid.webhook_url = deployment.webhook_url
        sendgrid.inbound_url = deployment.inbound_url
        say(
            "A shop and its mail: web, workers, beat, SQLite and Valkey run on this machine as they would in "
            "production, and a local SendGrid takes the place of the real one. Nothing leaves this machine.",
            indent="",
        )
        _start(deployment, valkey)
        events, events_good = event_demo.run(deployment, sendgrid.sender, closed)
        mails, mails_good = mail_demo.run(deployment, sendgrid)
        inbound, inbound_good = inbound_demo.run(deployment, sendgrid)
        figures = {**events, **mails, **inbound}
        metrics_good = metrics_demo.run(deployment, figures)
        good = events_good and mails_good and inbound_good and metrics_good
        _print_end(figures, time.monotonic() - began, good=good, stays_open=stays_open)
        if stays_open:
            good = _keep_open(deployment, sendgrid) and good
    return good


def _start(deployment: Stack, valkey: Valkey) -> None:
    print(f"\nStarting: {valkey.version}", end="", flush=True)
    deployment.manage("migrate", "--verbosity", "0")
    print(", database", end="", flush=True)
    starts: dict[str, Callable[[], Process]] = {
        "web": deployment.web,
        "worker": deployment.worker,
        "mailer": deployment.mailer,
        "beat": deployment.beat,
    }
    for name, start in starts.items():
        start()
        print(f", {name}", end="", flush=True)
    print(".", flush=True)


def _print_end(figures: dict[str, int], seconds: float, *, good: bool, stays_open: bool) -> None:
    """Print the result in words, what to do next, and a line of JSON."""
    print(flush=True)
    if good:
        say(f"Nothing was lost and nothing was sent twice, in {seconds:.0f} seconds.", indent="")
    else:
        say("A figure is not as expected: look for WRONG above.", indent="")
    if not stays_open:
        print("\nNext:", flush=True)
        print("  ./dev demo --open  do it again, and look at it in the admin", flush=True)
        print("  ./dev up           run the shop, send mails of your own and answer them", flush=True)
    print(f"\n{json.dumps(figures)}", flush=True)


def _keep_open(deployment: Stack, sendgrid: FakeSendGrid) -> bool:
    """Print the addresses of what the demo did, and wait for Ctrl-C. False if a process ended before that."""
    password = secrets.token_urlsafe(12)
    deployment.add_admin(password)
    admin = f"{deployment.url}admin/"
    print(f"\nLook at it in the admin, as user admin with password {password}\n", flush=True)
    for what, url in (
        ("what is wrong now", f"{admin}overview_app/overview/"),
        ("the mails", f"{admin}sending_app/mail/"),
        ("the dead letter", f"{admin}events_app/pendingdelivery/"),
        ("Carol's answer", f"{admin}events_app/inboundmail/"),
        ("SendGrid's side", sendgrid.page_url),
    ):
        print(f"  {what:<19}{url}", flush=True)
    print("\nCtrl-C ends it and removes its data.", flush=True)
    try:
        ended = wait_for(
            lambda: next((process for process in deployment.started.values() if not process.alive), None),
            seconds=float("inf"),
            what="a process ends",
        )
        print(f"{ended.log.stem} has ended by itself: see {ended.log}.", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nStopping.", flush=True)
        return True
    return False


def _environment(folder: Path, valkey: Valkey, sendgrid: FakeSendGrid, closed: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
        "REDIS_URL": valkey.url(0),
        "CELERY_BROKER_URL": valkey.url(1),
        "DEFAULT_FROM_EMAIL": "The shop <shop@example.com>",
        "DJANGO_BEHIND_TLS": "0",  # a browser opens the admin over http
        "DJANGO_EXTRA_APPS": "example_app,devstack.flaky_crm",
        "CRM_CLOSED_FILE": str(closed),
        "RECEIVER_RETRY_DELAY": "1",
        "RECEIVER_MAX_ATTEMPTS": str(event_demo.TRIES),
        "SENDGRID_API_KEY": mail_demo.KEY,
        "SENDGRID_API_URL": sendgrid.url,
        "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY": sendgrid.public_key,
        "SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY": sendgrid.public_key,
        "INBOUND_FOLDER": str(folder / "inbound"),
        "METRICS_TOKEN": metrics_demo.TOKEN,
    }
