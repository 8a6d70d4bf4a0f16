"""`./dev up [APP ...]`: runs a whole deployment in the foreground, on free ports, until Ctrl-C.

The apps have the receivers; without one, it is the example app. The database, the data of Valkey and the
secrets stay in `.dev/` for the next run.
"""

import fcntl
import secrets
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from devstack.process import Process, free_port, wait_for
from devstack.stack import EVENT_QUEUES, ROOT, Stack
from devstack.valkey import Valkey
from fake_sendgrid import console
from fake_sendgrid.events import generate_events
from fake_sendgrid.server import FakeSendGrid
from fake_sendgrid.webhook_sender import WebhookSender, event_batch
from fake_sendgrid.website import site

FOLDER = ROOT / ".dev"

#: Seconds that the processes have to stop. What kills them and stops Valkey has the rest of 5 seconds.
STOP_GRACE = 3


def main(argv: list[str]) -> int:
    if not all(map(_is_import_path, argv)):
        print("usage: ./dev up [APP ...]", file=sys.stderr)
        return 2
    folder = FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    with ExitStack() as stack, (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(
                "Another ./dev up is running in this folder; two runs cannot share its data.", file=sys.stderr
            )
            return 1
        try:
            processes = _start(stack, folder, argv or ["example_app"])
        except (RuntimeError, TimeoutError) as failure:
            print(
                f"{failure}\nThe logs are in {folder}. Remove it if an earlier version made its database.",
                file=sys.stderr,
            )
            return 1
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


def _is_import_path(word: str) -> bool:
    return all(name.isidentifier() for name in word.split("."))


def _start(stack: ExitStack, folder: Path, apps: list[str]) -> list[Process]:
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
    deployment = Stack(folder, _environment(folder, valkey, sendgrid, apps))
    print(f"Starting a shop: {valkey.version}, web, workers, beat, flower, a local SendGrid.", flush=True)
    print(f"Its logs and data are in {folder}", flush=True)
    stack.enter_context(_stopped_in_time(deployment))
    sendgrid.webhook_url = deployment.webhook_url
    sendgrid.inbound_url = deployment.inbound_url
    deployment.manage("migrate", "--verbosity", "0")
    admin_password, flower_password = _secret(folder / "password"), _secret(folder / "flower-password")
    deployment.add_admin(admin_password)
    print("  the database is ready", flush=True)
    starts: dict[str, Callable[[], Process]] = {
        "web": deployment.web,
        "worker": lambda: deployment.worker(queues=EVENT_QUEUES),
        "inbound": deployment.inbound,
        "mailer": deployment.mailer,
        "beat": deployment.beat,
        "flower": lambda: deployment.flower("admin", flower_password),
    }
    for name, start in starts.items():
        start()
        print(f"  {name} is running", flush=True)
    sendgrid.sender.post(deployment.webhook_url, event_batch(generate_events(200)))
    print("  SendGrid has posted 200 signed events about earlier mails", flush=True)
    _print_addresses(deployment, sendgrid, admin_password, flower_password)
    _print_first_steps(deployment, _manage(folder, deployment), _secret(folder / "metrics-token"))
    return [valkey.process, *deployment.started.values()]


@contextmanager
def _stopped_in_time(deployment: Stack) -> Iterator[None]:
    """Stop the processes at the end, and say so. Another Ctrl-C kills them."""
    try:
        yield
    finally:
        print("\nStopping. Ctrl-C again kills the processes at once.", flush=True)
        for name in deployment.stop(STOP_GRACE):
            print(
                f"  {name} did not stop in {STOP_GRACE} s and was killed. The next run continues its work.",
                flush=True,
            )
        print("Stopped.", flush=True)


def _environment(folder: Path, valkey: Valkey, sendgrid: FakeSendGrid, apps: list[str]) -> dict[str, str]:
    return {
        "DJANGO_DEBUG": "1",
        "DJANGO_SECRET_KEY": _secret(folder / "secret-key", length=50),
        "DJANGO_EXTRA_APPS": ",".join(apps),
        "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
        "REDIS_URL": valkey.url(0),
        "CELERY_BROKER_URL": valkey.url(1),
        "DEFAULT_FROM_EMAIL": "The shop <shop@example.com>",
        "SENDGRID_API_KEY": "SG.fake",
        "SENDGRID_API_URL": sendgrid.url,
        "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY": sendgrid.public_key,
        "SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY": sendgrid.public_key,
        "INBOUND_FOLDER": str(folder / "inbound"),
        "METRICS_TOKEN": _secret(folder / "metrics-token"),
    }


def _print_addresses(
    deployment: Stack, sendgrid: FakeSendGrid, admin_password: str, flower_password: str
) -> None:
    print("\nThe shop is running. Log in as admin:\n")
    print(f"  admin     {deployment.url}admin/   {admin_password}")
    print(f"  flower    {deployment.flower_url}   {flower_password}")
    print(f"  SendGrid  {sendgrid.page_url} (local: it takes mail and delivers none)")
    print(f"  webhook   {deployment.webhook_url}")


def _print_first_steps(deployment: Stack, manage: str, metrics_token: str) -> None:
    print("\nIn another terminal, send a mail to Ann and to an address that bounces:\n")
    print(f"  {manage} sendtestemail ann@example.com bounce@example.com\n")
    print("See what became of it, at SendGrid's page above, in the admin, or here:\n")
    print(f"  {deployment.url}admin/sending_app/mail/")
    print(f"  {manage} outbox list")
    print("\nGet a reply, examine the shop, read its metrics:\n")
    print(f"  {manage} sendtestemail reply@example.com")
    print(f"  {manage} inbound list")
    print(f"  {manage} doctor")
    print(f"  curl -H 'Authorization: Bearer {metrics_token}' \\\n    {deployment.metrics_url}")


def _manage(folder: Path, deployment: Stack) -> str:
    """Write a script that runs manage.py with the deployment's settings; return its path."""
    script = folder / "manage"
    script.touch(mode=0o700)
    # `export` is the shell's own, so no value is an argument of a process: others can read arguments.
    variables = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in deployment.env.items())
    program = shlex.join([sys.executable, str(ROOT / "manage.py")])
    script.write_text(f'#!/bin/sh\n{variables}exec {program} "$@"\n')
    return str(script.relative_to(ROOT)) if script.is_relative_to(ROOT) else str(script)


def _secret(file: Path, *, length: int = 12) -> str:
    """Return the secret in a file; the first run makes it, of this many random bytes."""
    file.touch(mode=0o600)
    if not file.read_text():
        file.write_text(secrets.token_urlsafe(length))
    return file.read_text()
