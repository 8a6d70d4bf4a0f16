"""`./dev demo`: sends events, mails and an inbound mail through a deployment, and checks every figure."""

import json
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from devstack import event_demo, inbound_demo, mail_demo, metrics_demo
from devstack.stack import Stack
from devstack.valkey import Valkey
from fake_sendgrid.event_webhook import PostingOptions
from fake_sendgrid.server import FakeSendGrid


def main(argv: list[str]) -> int:
    if argv:
        print("usage: ./dev demo", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="pipeline-demo-"))
    with ExitStack() as stack:
        valkey = stack.enter_context(Valkey(folder / "valkey"))
        sendgrid = stack.enter_context(FakeSendGrid(posting=PostingOptions(duplicates=0.3, disorder=0.3)))
        closed = folder / "crm-is-closed"
        closed.touch()
        deployment = stack.enter_context(Stack(folder, _environment(folder, valkey, sendgrid, closed)))
        sendgrid.webhook_url = deployment.webhook_url
        sendgrid.inbound_url = deployment.inbound_url
        print(
            f"Starting web, workers, beat and a SendGrid on free ports ({valkey.version}, SQLite).",
            flush=True,
        )
        deployment.manage("migrate", "--verbosity", "0")
        for start in (deployment.web, deployment.worker, deployment.mailer, deployment.beat):
            start()
        events, events_good = event_demo.run(deployment, sendgrid.sender, closed)
        mails, mails_good = mail_demo.run(deployment, sendgrid)
        inbound, inbound_good = inbound_demo.run(deployment, sendgrid)
        figures = {**events, **mails, **inbound}
        metrics_good = metrics_demo.run(deployment, figures)
        print(json.dumps(figures), flush=True)
    if not (events_good and mails_good and inbound_good and metrics_good):
        print(f"The logs are in {folder}.", flush=True)
        return 1
    shutil.rmtree(folder)
    return 0


def _environment(folder: Path, valkey: Valkey, sendgrid: FakeSendGrid, closed: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
        "REDIS_URL": valkey.url(0),
        "CELERY_BROKER_URL": valkey.url(1),
        "DEFAULT_FROM_EMAIL": "The shop <shop@example.com>",
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
