"""`./dev up`: the whole deployment in the foreground, on free ports, until Ctrl-C.

Its database, its Valkey and its passwords stay in `.dev/`, so the next run goes on where this one ended.
"""

import secrets
import sys
from contextlib import ExitStack
from pathlib import Path

from fake_sendgrid.events import history
from fake_sendgrid.webhook import Sender, batch
from ground.process import Process, wait_for
from ground.stack import ROOT, Stack
from ground.valkey import Valkey


def main(argv: list[str]) -> int:
    if argv:
        print("usage: ./dev up", file=sys.stderr)
        return 2
    folder = ROOT / ".dev"
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        processes = _start(stack, folder)
        print("\nCtrl-C ends it.", flush=True)
        ended = wait_for(
            lambda: next((process for process in processes if not process.alive), None),
            seconds=float("inf"),
            what="a process ends",
        )
        print(f"\nA process has ended by itself; see {ended.log}.", file=sys.stderr)
    return 1


def _start(stack: ExitStack, folder: Path) -> list[Process]:
    password = _password(folder)
    sender = Sender()
    valkey = stack.enter_context(Valkey(folder / "valkey"))
    deployment = Stack(
        folder,
        {
            "DJANGO_DEBUG": "1",
            "DJANGO_SECRET_KEY": password,
            "DJANGO_EXTRA_APPS": "example_app",
            "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
            "REDIS_URL": valkey.url(0),
            "CELERY_BROKER_URL": valkey.url(1),
            "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY": sender.public_key,
            "DJANGO_SUPERUSER_USERNAME": "admin",
            "DJANGO_SUPERUSER_EMAIL": "admin@localhost",
            "DJANGO_SUPERUSER_PASSWORD": password,
        },
    )
    print(
        f"Starting {valkey.version}, web, worker, beat and flower. Logs and data are in {folder}.", flush=True
    )
    deployment.manage("migrate", "--verbosity", "0")
    if "admin" not in deployment.manage("shell", "--verbosity", "0", "-c", _USERS):
        deployment.manage("createsuperuser", "--noinput")
    processes = [
        stack.enter_context(start()) for start in (deployment.web, deployment.worker, deployment.beat)
    ]
    processes.append(stack.enter_context(deployment.flower("admin", password)))
    sender.post(deployment.webhook_url, batch(history(200)))
    print(f"\n  webhook  {deployment.webhook_url} (200 signed events have been posted to it)")
    print(f"  admin    {deployment.url}admin/")
    print(f"  flower   {deployment.flower_url}")
    print(f"  log in as admin with the password {password}")
    return processes


_USERS = (
    "from django.contrib.auth.models import User; print(*User.objects.values_list('username', flat=True))"
)


def _password(folder: Path) -> str:
    file = folder / "password"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(12))
    return file.read_text()
