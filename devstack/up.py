"""`./dev up`: runs a whole deployment in the foreground, on free ports, until Ctrl-C.

Its database, the data of its Valkey and its password stay in `.dev/` for the next run.
"""

import fcntl
import secrets
import shlex
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from devstack.process import Process, free_port, wait_for
from devstack.stack import EVENT_QUEUES, ROOT, Stack
from devstack.valkey import Valkey
from fake_sendgrid import console
from fake_sendgrid.events import generate_events
from fake_sendgrid.server import FakeSendGrid
from fake_sendgrid.webhook_sender import WebhookSender, event_batch
from fake_sendgrid.website import site


def main(argv: list[str]) -> int:
    if argv:
        print("usage: ./dev up", file=sys.stderr)
        return 2
    folder = ROOT / ".dev"
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack, (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(
                "Another ./dev up is running in this folder; two runs cannot share its data.", file=sys.stderr
            )
            return 1
        processes = _start(stack, folder)
        print("\nCtrl-C ends it.", flush=True)
        ended = wait_for(
            lambda: next((process for process in processes if not process.alive), None),
            seconds=float("inf"),
            what="a process ends",
        )
        print(
            f"\n{ended.log.stem} has ended by itself, with status {ended.wait(0)}, and the others with it: "
            f"see {ended.log}.",
            file=sys.stderr,
        )
    return 1


def _start(stack: ExitStack, folder: Path) -> list[Process]:
    password = _password(folder)
    sendgrid = stack.enter_context(
        FakeSendGrid(
            sender=WebhookSender.from_key_file(folder / "sendgrid.pem"),
            port=free_port(),
            keep=1000,
            on_request=console.print_request,
            on_inbound=console.print_inbound_delivery,
        )
    )
    site.add_to(sendgrid, keep=1000)
    valkey = stack.enter_context(Valkey(folder / "valkey"))
    deployment = Stack(folder, _environment(folder, valkey, sendgrid, password))
    print(
        f"Starting {valkey.version}, a SendGrid, web, workers, beat, flower. Logs and data are in {folder}.",
        flush=True,
    )
    sendgrid.webhook_url = deployment.webhook_url
    sendgrid.inbound_url = deployment.inbound_url
    deployment.manage("migrate", "--verbosity", "0")
    if "admin" not in deployment.manage("shell", "--verbosity", "0", "-c", _USERS):
        deployment.manage("createsuperuser", "--noinput")
    worker = partial(deployment.worker, queues=EVENT_QUEUES)
    starts = (deployment.web, worker, deployment.inbound, deployment.mailer, deployment.beat)
    processes = [valkey.process, *(stack.enter_context(start()) for start in starts)]
    processes.append(stack.enter_context(deployment.flower("admin", password)))
    sendgrid.sender.post(deployment.webhook_url, event_batch(generate_events(200)))
    _print_addresses(deployment, sendgrid, password, _manage(folder, deployment))
    return processes


def _environment(folder: Path, valkey: Valkey, sendgrid: FakeSendGrid, password: str) -> dict[str, str]:
    return {
        "DJANGO_DEBUG": "1",
        "DJANGO_SECRET_KEY": password,
        "DJANGO_EXTRA_APPS": "example_app",
        "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
        "REDIS_URL": valkey.url(0),
        "CELERY_BROKER_URL": valkey.url(1),
        "DEFAULT_FROM_EMAIL": "The shop <shop@example.com>",
        "SENDGRID_API_KEY": "SG.fake",
        "SENDGRID_API_URL": sendgrid.url,
        "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY": sendgrid.public_key,
        "SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY": sendgrid.public_key,
        "INBOUND_FOLDER": str(folder / "inbound"),
        "DJANGO_SUPERUSER_USERNAME": "admin",
        "DJANGO_SUPERUSER_EMAIL": "admin@localhost",
        "DJANGO_SUPERUSER_PASSWORD": password,
    }


def _print_addresses(deployment: Stack, sendgrid: FakeSendGrid, password: str, manage: str) -> None:
    print(f"\n  webhook  {deployment.webhook_url} (200 signed events have been posted to it)")
    print(f"  admin    {deployment.url}admin/")
    print(f"  flower   {deployment.flower_url}")
    print(f"  log in as admin with the password {password}")
    print(f"\n  SendGrid {sendgrid.page_url} shows your mails: it delivers none and posts events back.")
    print(f"  Send it a mail:  {manage} sendtestemail ann@example.com bounce@example.com")
    print(f"  and look:        {manage} outbox list")
    print(f"  Get a reply:     {manage} sendtestemail reply@example.com")
    print(f"  and look:        {manage} inbound list")


def _manage(folder: Path, deployment: Stack) -> str:
    """Write a script that runs manage.py with the deployment's settings; return its path."""
    script = folder / "manage"
    script.touch(mode=0o700)
    variables = " ".join(shlex.quote(f"{name}={value}") for name, value in deployment.env.items())
    program = shlex.join([sys.executable, str(ROOT / "manage.py")])
    script.write_text(f'#!/bin/sh\nexec env {variables} {program} "$@"\n')
    return str(script.relative_to(ROOT))


_USERS = (
    "from django.contrib.auth.models import User; print(*User.objects.values_list('username', flat=True))"
)


def _password(folder: Path) -> str:
    file = folder / "password"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(12))
    return file.read_text()
