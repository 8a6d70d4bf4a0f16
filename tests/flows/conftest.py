"""The servers of a test, and a deployment on them, started and ended with it."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from devstack.postgres import Postgres
from devstack.valkey import Valkey
from tests.support import preloaded
from tests.support.flows.databases import DatabaseTemplate, postgres_database
from tests.support.flows.deployment import Deployment, Servers
from tests.support.flows.inbound_deployment import InboundDeployment
from tests.support.flows.mail_deployment import MailDeployment


@pytest.fixture(scope="session", autouse=True)
def forks() -> Iterator[None]:
    yield
    preloaded.end()


@pytest.fixture(params=["sqlite", "postgres"])
def servers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Servers]:
    """The test runs once with each database; `@on_postgres` for the one alone."""
    with ExitStack() as stack:
        valkey = stack.enter_context(Valkey(tmp_path / "valkey"))
        if request.param == "postgres":
            by_template = "template" in request.fixturenames
            server = os.environ["TEST_DATABASE_URL"]
            url = stack.enter_context(postgres_database(server, create=not by_template))
        else:
            url = f"sqlite:///{tmp_path}/db.sqlite3"
        yield Servers(valkey, url)


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Postgres]:
    """A server that may be stopped."""
    with Postgres(tmp_path / "postgres") as server:
        yield server


@pytest.fixture
def own_servers(postgres: Postgres, tmp_path: Path) -> Iterator[Servers]:
    """With that one's database."""
    with Valkey(tmp_path / "valkey") as valkey:
        yield Servers(valkey, postgres.url)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseTemplate]:
    found = DatabaseTemplate(tmp_path_factory.mktemp("template"), os.environ["TEST_DATABASE_URL"])
    yield found
    found.drop()


@pytest.fixture
def deployment(servers: Servers, tmp_path: Path, template: DatabaseTemplate) -> Iterator[Deployment]:
    """Migrated, and nothing of it runs yet."""
    found = Deployment(tmp_path, *servers, template)
    yield found
    found.stop()


@pytest.fixture
def mail_deployment(servers: Servers, tmp_path: Path, template: DatabaseTemplate) -> Iterator[MailDeployment]:
    """A deployment that sends mail, migrated, and a SendGrid that answers it."""
    found = MailDeployment(tmp_path, *servers, template)
    yield found
    found.stop()


@pytest.fixture
def inbound_deployment(
    servers: Servers, tmp_path: Path, template: DatabaseTemplate
) -> Iterator[InboundDeployment]:
    """A deployment that sends mail and takes it, migrated."""
    found = InboundDeployment(tmp_path, *servers, template)
    yield found
    found.stop()
