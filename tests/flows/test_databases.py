"""Replicas, a database for events and mail alone, and pools of connections, as docs/databases.md has them."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from devstack.postgres import Postgres
from devstack.process import Process, free_port, wait_for
from devstack.stack import ROOT, is_listening
from devstack.valkey import Valkey
from fake_sendgrid.events import generate_events
from tests.support.documents import block, files_below
from tests.support.flows.databases import connect, postgres_database
from tests.support.flows.deployment import Deployment, once_each
from tests.support.flows.mail_deployment import READER, MailDeployment
from tests.support.flows.operator import log_in
from tests.support.flows.standby import Standby

PAGE = "docs/databases.md"


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    with Valkey(tmp_path / "valkey") as server:
        yield server


@contextmanager
def mail_deployment_on(database_url: str, folder: Path, valkey: Valkey) -> Iterator[MailDeployment]:
    deployment = MailDeployment(folder, valkey, database_url)
    try:
        yield deployment
    finally:
        deployment.stop()


def use_documented_settings(deployment: Deployment, heading: str) -> None:
    """Write the settings of this section of the page, and use them in processes started from now on."""
    for name, text in files_below(PAGE, heading).items():
        (deployment.folder / name).parent.mkdir(exist_ok=True)
        (deployment.folder / name).write_text(text)
    path = os.pathsep.join([str(deployment.folder), str(ROOT)])
    deployment.configure(DJANGO_SETTINGS_MODULE="mysite.settings", PYTHONPATH=path)


def deliver_events_and_a_mail(deployment: MailDeployment) -> None:
    """Let the deployment receive 60 events in three posts, and send a mail of which events come."""
    events = generate_events(60)
    for at in range(0, 60, 20):
        assert deployment.post(events[at : at + 20]) == 200
    deployment.wait_until_received(stored=60)
    assert deployment.called() == once_each(events)
    deployment.call("send", to=[READER])
    deployment.wait_until(deployment.all_confirmed, "a mail accepted and heard of")
    deployment.wait_until(lambda: not deployment.waiting_in_redis(), "its events stored")
    assert not deployment.errors()


def test_everything_works_while_the_replica_that_the_router_reads_lags(
    postgres: Postgres, valkey: Valkey, tmp_path: Path
) -> None:
    with (
        mail_deployment_on(postgres.url, tmp_path, valkey) as deployment,
        Standby(tmp_path / "standby", postgres) as standby,
    ):
        use_documented_settings(deployment, "Replicas")
        deployment.configure(REPLICA_URL=standby.url, DJANGO_BEHIND_TLS=0)  # the test comes by http
        standby.pause()
        deployment.web()
        browser = log_in(deployment)
        deployment.worker()
        deployment.mailer()

        deliver_events_and_a_mail(deployment)

        manage = deployment.stack.manage
        assert READER in manage("outbox", "show", "--address", READER)
        assert "accepted" in manage("outbox", "list", "--state", "accepted")
        assert "Waiting in Redis, to be stored: 0" in manage("events", "status")
        assert READER in manage("events", "show", "--address", READER)
        (pk,) = deployment.query("SELECT min(id) FROM sending_app_mail")[0]
        for path, text in (
            ("sending_app/mail/", "accepted"),
            (f"sending_app/mail/{pk}/change/", READER),
            ("events_app/event/", READER),
        ):
            page = browser.get(f"{deployment.stack.url}admin/{path}", timeout=30)
            assert page.status_code == 200
            assert text in page.text
        with connect(standby.url) as replica:
            assert replica.execute("SELECT count(*) FROM events_app_event").fetchone() == (0,)


def test_events_and_mail_may_have_a_database_of_their_own(valkey: Valkey, tmp_path: Path) -> None:
    with ExitStack() as stack:
        default = stack.enter_context(postgres_database(os.environ["TEST_DATABASE_URL"]))
        sendgrid = stack.enter_context(postgres_database(os.environ["TEST_DATABASE_URL"]))
        deployment = stack.enter_context(mail_deployment_on(sendgrid, tmp_path, valkey))
        use_documented_settings(deployment, "A database for events and mail")
        with connect(sendgrid) as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        deployment.configure(DATABASE_URL=default, SENDGRID_DATABASE_URL=sendgrid)
        deployment.stack.manage("migrate", "--run-syncdb", "--verbosity", "0")
        deployment.stack.manage("migrate", "--database", "sendgrid", "--verbosity", "0")
        deployment.web()
        deployment.worker()
        deployment.mailer()

        deliver_events_and_a_mail(deployment)

        assert READER in deployment.stack.manage("outbox", "show", "--address", READER)
        with connect(default) as connection:
            tables = "SELECT count(*) FROM pg_tables WHERE tablename ~ '^(events|sending)_app_'"
            assert connection.execute(tables).fetchone() == (0,)


PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


@contextmanager
def pgbouncer_before(database_url: str, folder: Path) -> Iterator[str]:
    """The page's pgbouncer, with other ports and another database; the URL of the database through it."""
    assert PGBOUNCER
    server, port = urlsplit(database_url), free_port()
    name = server.path.removeprefix("/")
    configuration = block("docs/databases.md", "pgbouncer")
    for shipped, ours in (
        ("pipeline = host=127.0.0.1 port=5432", f"{name} = host={server.hostname} port={server.port}"),
        ("listen_port = 6432", f"listen_port = {port}"),
    ):
        assert shipped in configuration
        configuration = configuration.replace(shipped, ours)
    folder.mkdir()
    (folder / "userlist.txt").write_text(f'"{server.username}" "a-password-for-tests"\n')
    (folder / "pgbouncer.ini").write_text(configuration)
    # It refuses to run as root. With -u it reads its files first.
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    command: list[str | Path] = [PGBOUNCER, *user, folder / "pgbouncer.ini"]
    with Process(command, log=folder / "log", env=dict(os.environ), cwd=folder) as process:
        wait_for(lambda: is_listening(port), seconds=30, what="pgbouncer", unless_dead=process)
        yield f"postgres://{server.username}:a-password-for-tests@127.0.0.1:{port}/{name}"


@pytest.mark.skipif(PGBOUNCER is None, reason="no pgbouncer: install it to run this test")
@pytest.mark.parametrize("atomic", [False, True], ids=["plain", "ATOMIC_DISPATCH"])
def test_transaction_pooling_by_pgbouncer(valkey: Valkey, tmp_path: Path, atomic: bool) -> None:
    with (
        postgres_database(os.environ["TEST_DATABASE_URL"]) as database_url,
        pgbouncer_before(database_url, tmp_path / "pgbouncer") as pooled_url,
        mail_deployment_on(pooled_url, tmp_path, valkey) as deployment,
    ):
        url = f"{pooled_url}?DISABLE_SERVER_SIDE_CURSORS=true"
        deployment.configure(DATABASE_URL=url, ATOMIC_DISPATCH=atomic)
        deployment.web()
        deployment.worker()
        deployment.mailer()

        deliver_events_and_a_mail(deployment)

        assert READER in deployment.stack.manage("outbox", "show", "--address", READER)


def test_djangos_pool_of_connections(valkey: Valkey, tmp_path: Path) -> None:
    with (
        postgres_database(os.environ["TEST_DATABASE_URL"]) as database_url,
        mail_deployment_on(database_url, tmp_path, valkey) as deployment,
    ):
        use_documented_settings(deployment, "Django's pool of connections")
        deployment.web()
        deployment.worker()
        deployment.mailer()

        deliver_events_and_a_mail(deployment)

        assert READER in deployment.stack.manage("outbox", "show", "--address", READER)
