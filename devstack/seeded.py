"""A whole deployment with seeded data, on PostgreSQL, for pictures and tests of the admin."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from devstack.postgres import Postgres
from devstack.stack import EVENT_QUEUES, INBOUND_QUEUES, Stack
from devstack.valkey import Valkey
from fake_sendgrid.server import FakeSendGrid

PASSWORD = "a-password-for-this-machine-only"


@contextmanager
def seeded_deployment(folder: Path, *, events: int, mails: int) -> Iterator[Stack]:
    """Web, a worker, a mailer, beat and a SendGrid. The superuser is "admin", with `PASSWORD`."""
    with ExitStack() as stack:
        postgres = stack.enter_context(Postgres(folder / "postgres"))
        valkey = stack.enter_context(Valkey(folder / "valkey"))
        sendgrid = stack.enter_context(FakeSendGrid())
        settings = {
            "DJANGO_BEHIND_TLS": "0",
            "DJANGO_EXTRA_APPS": "example_app",
            "DATABASE_URL": postgres.url,
            "REDIS_URL": valkey.url(0),
            "CELERY_BROKER_URL": valkey.url(1),
            "DEFAULT_FROM_EMAIL": "The shop <shop@shop.example>",
            "SENDGRID_API_KEY": "SG.fake",
            "SENDGRID_API_URL": sendgrid.url,
            "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY": sendgrid.public_key,
            "SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY": sendgrid.public_key,
            "INBOUND_FOLDER": str(folder / "inbound"),
        }
        deployment = stack.enter_context(Stack(folder, settings))
        sendgrid.webhook_url = deployment.webhook_url
        sendgrid.inbound_url = deployment.inbound_url
        deployment.manage("migrate", "--verbosity", "0")
        deployment.add_admin(PASSWORD)
        print(deployment.seed(events=events, mails=mails), flush=True)
        deployment.web()
        deployment.worker(queues=EVENT_QUEUES + INBOUND_QUEUES)
        deployment.mailer()
        deployment.beat()
        yield deployment
