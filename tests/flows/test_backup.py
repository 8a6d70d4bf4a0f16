"""docs/backup.md: its blocks save a deployment amid its work, and restore it into empty servers."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from devstack.postgres import Postgres
from devstack.stack import ROOT
from devstack.valkey import Valkey
from events_app.shared import counters
from fake_sendgrid.events import Event, generate_events
from tests.support.documents import block
from tests.support.flows.deployment import LONG_AGO, Servers
from tests.support.flows.inbound_deployment import InboundDeployment
from tests.support.flows.mail_deployment import MailDeployment
from tests.support.inbound.mails import sample_mail

#: The scenarios of these addresses post no event by themselves.
WAITING, POSTING, UNSENT = "silent@example.com", "silent.posting@example.com", "silent.unsent@example.com"

MAILS = (WAITING, POSTING, UNSENT)

#: The program with which the page asks Valkey, for machines that have none.
VALKEY_CLI = """#!{python}
import os, sys, redis
answer = redis.Redis(port=int(os.environ["VALKEY_PORT"])).execute_command(*sys.argv[1:])
print(answer)
"""


@pytest.fixture
def inbound_deployment(tmp_path: Path, own_servers: Servers) -> Iterator[InboundDeployment]:
    deployment = InboundDeployment(tmp_path, *own_servers)
    yield deployment
    deployment.stop()


class Operator:
    """Runs blocks of the page on the servers of now."""

    def __init__(self, deployment: InboundDeployment, folder: Path) -> None:
        self.deployment, self.folder = deployment, folder
        (folder / "bin").mkdir(parents=True)
        program = folder / "bin" / "valkey-cli"
        program.write_text(VALKEY_CLI.format(python=sys.executable))
        program.chmod(0o755)

    def run(self, text: str, postgres: Postgres, valkey: Valkey) -> str:
        """The output of a block that succeeds."""
        places = {
            "/var/lib/valkey": valkey.directory,
            "/var/lib/pipeline": self.deployment.store.parent,
            ".venv/bin/python manage.py": f"{sys.executable} {ROOT}/manage.py",
        }
        for place, ours in places.items():
            text = text.replace(place, str(ours))
        done = subprocess.run(
            ["/bin/sh", "-eu", "-c", text],
            cwd=self.folder,
            env=self.deployment.stack.env
            | {
                "PATH": f"{self.folder / 'bin'}:{postgres.programs}:{os.environ['PATH']}",
                "PGHOST": "127.0.0.1",
                "PGPORT": str(postgres.port),
                "PGUSER": "postgres",
                "VALKEY_PORT": str(valkey.port),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}"
        return done.stdout


def test_a_backup_amid_work_is_restored_into_empty_servers_and_no_mail_leaves_twice(
    inbound_deployment: InboundDeployment, postgres: Postgres, tmp_path: Path
) -> None:
    deployment, operator = inbound_deployment, Operator(inbound_deployment, tmp_path / "operator")
    first, in_valkey = generate_events(20), generate_events(10)
    work(deployment, first, in_valkey)
    operator.run(block("docs/backup.md", "Save"), postgres, deployment.valkey)
    work_on_until_the_loss(deployment, in_valkey)
    postgres.stop()
    deployment.valkey.kill()
    deployment.store.rename(tmp_path / "lost")

    with ExitStack() as stack:
        server = stack.enter_context(Postgres(tmp_path / "new-postgres"))
        with psycopg.connect(server.url.replace("/pipeline", "/postgres"), autocommit=True) as connection:
            connection.execute("DROP DATABASE pipeline")
        valkey = Valkey(tmp_path / "new-valkey")
        valkey.directory.mkdir()
        urls = {"DATABASE_URL": server.url, "REDIS_URL": valkey.url(0), "CELERY_BROKER_URL": valkey.url(1)}
        deployment.database_url, deployment.valkey = server.url, valkey
        deployment.configure(**urls)
        operator.run(block("docs/backup.md", "Restore", 1), server, valkey)
        stack.enter_context(valkey)
        parked = operator.run(block("docs/backup.md", "Restore", 2), server, valkey)
        assert "Parked 2 of 3 mails." in parked
        assert "1 left alone: a worker is posting them" in parked
        deployment.execute(f"UPDATE sending_app_mail SET due = '{LONG_AGO}' WHERE state = 'posting'")
        assert "Parked 1 of 3" in operator.run(block("docs/backup.md", "Restore", 2), server, valkey)

        deployment.web()
        deployment.worker(name="new-worker")
        mailer = deployment.mailer(name="new-mailer")
        deployment.call("send", to=["new@example.com"])
        deployment.wait_until(lambda: state_of(deployment, "new@example.com") == "accepted", "new mail sent")
        check_events(deployment, first, in_valkey)
        deployment.pass_time()
        deployment.wait_for_tick(mailer)
        listed = operator.run(block("docs/backup.md", "Restore", 3), server, valkey)
        assert all(address in listed for address in MAILS)
        check_parked_mails(deployment)
        # The inbound mail is there with its file.
        calls = len(deployment.received_mails())
        deployment.stack.manage("inbound", "replay", "--all")
        deployment.wait_until(lambda: len(deployment.received_mails()) > calls, "the inbound mail read again")


def work(deployment: InboundDeployment, first: list[Event], in_valkey: list[Event]) -> None:
    """Store events and an inbound mail, and leave other events and mails on their way."""
    deployment.web()
    worker = deployment.worker()
    assert deployment.post(first) == 200
    assert deployment.post_mail(sample_mail()) == 200
    deployment.wait_until(
        lambda: [mail.state for mail in deployment.mails()] == ["done"], "the inbound mail read"
    )
    deployment.wait_until_received(stored=len(first))
    worker.stop()
    assert deployment.post(in_valkey) == 200
    # SendGrid has accepted this mail, and no worker lives to say so.
    held = deployment.sendgrid.hold(after_accepting=True)
    mailer = deployment.mailer(name="killed")
    deployment.call("send", to=[POSTING])
    deployment.wait_until(held.arrived.is_set, "the mail accepted")
    mailer.freeze()
    held.release()
    mailer.kill()
    for address in (WAITING, UNSENT):
        deployment.call("send", to=[address])


def work_on_until_the_loss(deployment: InboundDeployment, in_valkey: list[Event]) -> None:
    """Send one of the two waiting mails and store the events, after the backup. End all processes."""
    of_mail = f"id = (SELECT mail_id FROM sending_app_recipient WHERE address = '{UNSENT}')"
    deployment.execute(f"UPDATE sending_app_mail SET state = 'cancelled' WHERE {of_mail}")
    deployment.worker(name="second-worker")
    deployment.mailer(name="second-mailer")
    deployment.wait_until(lambda: state_of(deployment, WAITING) == "accepted", "the waiting mail sent")
    deployment.wait_until(lambda: ids(in_valkey) <= stored_ids(deployment), "more events stored")
    for process in deployment.processes:
        process.kill()


def check_events(deployment: InboundDeployment, first: list[Event], in_valkey: list[Event]) -> None:
    """Events are stored from the saved Valkey, and an event that SendGrid posts again is a duplicate."""
    deployment.wait_until(lambda: ids(in_valkey) <= stored_ids(deployment), "events from Valkey")
    known = deployment.counted(counters.EVENTS_DUPLICATE)
    assert deployment.post([*first, *in_valkey]) == 200
    deployment.wait_until_counted(known + len(first) + len(in_valkey), counters.EVENTS_DUPLICATE)
    deployment.wait_until(lambda: not deployment.pending(), "all received")
    assert ids(first) <= stored_ids(deployment)
    ((duplicates,),) = deployment.query("SELECT count(*) - count(DISTINCT event_id) FROM events_app_event")
    assert duplicates == 0


def check_parked_mails(deployment: InboundDeployment) -> None:
    """No parked mail leaves by itself. An event of the mail decides, or the operator."""
    assert [state_of(deployment, address) for address in MAILS] == ["parked"] * 3
    assert [len(deployment.accepted(address)) for address in MAILS] == [1, 1, 0]
    ((message_id,),) = deployment.query(
        f"SELECT message_id FROM sending_app_recipient WHERE address = '{WAITING}'"
    )
    assert deployment.post_open_event(str(message_id)) == 200
    deployment.wait_until(lambda: state_of(deployment, WAITING) == "accepted", "settled by its event")
    deployment.stack.manage("outbox", "settle", "--address", POSTING, "--sent")
    deployment.stack.manage("outbox", "settle", "--address", UNSENT, "--not-sent")
    deployment.wait_until(lambda: state_of(deployment, UNSENT) == "accepted", "sent after all")
    assert [len(deployment.accepted(address)) for address in MAILS] == [1, 1, 1]


def state_of(deployment: MailDeployment, address: str) -> str:
    return deployment.part_to(address).state


def ids(events: list[Event]) -> set[str]:
    return {str(event["sg_event_id"]) for event in events}


def stored_ids(deployment: MailDeployment) -> set[str]:
    return {event_id for (event_id,) in deployment.query("SELECT event_id FROM events_app_event")}
