"""manage.py doctor, as an operator runs it: a deployment that is well, and one whose processes are gone."""

from pathlib import Path

import pytest

from devstack.stack import ROOT, Stack
from tests.support.doctor import read_lines
from tests.support.flows.databases import on_postgres, on_sqlite
from tests.support.flows.deployment import Servers
from tests.support.flows.mail_deployment import MailDeployment


@pytest.mark.quick
@on_postgres
def test_a_well_deployment_has_no_warning_and_a_mail_goes_round(mail_deployment: MailDeployment) -> None:
    sendgrid, stack = mail_deployment.sendgrid, mail_deployment.stack
    sendgrid.account.domains, sendgrid.webhook_url = {"example.com": True}, None
    webhook = {"url": stack.webhook_url, "enabled": True, "processed": True, "delivered": True}
    created = sendgrid.event_webhooks.create(webhook, with_status_change=False)
    signature = sendgrid.event_webhooks.sign(created["id"], {"enabled": True})
    mail_deployment.configure(
        SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY=signature["public_key"],
        DEFAULT_FROM_EMAIL="shop@example.com",
        SEND_UNKNOWN_WAIT=600,
        DJANGO_SECRET_KEY="not-a-secret-but-long-enough-for-the-check-of-django",
    )
    mail_deployment.web()
    worker = mail_deployment.worker()
    mailer = mail_deployment.mailer()

    done = stack.run_manage("doctor", "--mail-to", "ops@example.org")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in read_lines(done.stdout) if line.level in ("warning", "error")] == []
    assert "The first events are back: " in done.stdout
    assert done.stdout.splitlines()[-1].startswith("No error and no warning in ")

    worker.stop()
    mailer.stop()
    with mail_deployment.redis() as redis:
        redis.set("{sendgrid:events}:beat", 1)
    done = stack.run_manage("doctor", "--level", "warning")
    assert done.returncode == 1
    faults = {line.text: line.advice for line in read_lines(done.stdout)}
    events = "No worker takes new events: queue sendgrid.events."
    assert "Start a worker with -Q sendgrid.mail." in faults["No worker takes mails: queue sendgrid.mail."]
    assert "Start a worker with -Q sendgrid.events." in faults[events]
    (beat,) = (text for text in faults if text.startswith("The last tick of beat's came "))
    assert faults[beat].startswith("Is it running")


@pytest.mark.quick
@on_sqlite
def test_a_project_without_migrations_and_without_sending_app_is_examined(
    servers: Servers, tmp_path: Path
) -> None:
    (tmp_path / "only_events.py").write_text(
        "from project.settings import *\n"
        "from project.settings import INSTALLED_APPS\n"
        'INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "sending_app"]\n'
    )
    urls = {"DATABASE_URL": servers.database_url, "REDIS_URL": servers.valkey.url(0)}
    stack = Stack(tmp_path, {**urls, "DJANGO_SETTINGS_MODULE": "only_events", "WEBHOOK_SECRET": "a"})
    done = stack.run_manage("doctor", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert (done.returncode, done.stderr) == (1, "")
    lines = read_lines(done.stdout)
    assert {line.subject for line in lines} >= {"Configuration", "Redis", "Database", "Broker"}
    assert any("lacks the migrations events_app.0001_initial" in line.text for line in lines)
    assert not [line for line in lines if "sendgrid.mail" in line.text or "could not be read" in line.text]
