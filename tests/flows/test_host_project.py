"""A project of somebody else on the built wheel, with a user model, a Celery app and tests of its own.

The project is `tests/host_project`. Its Python and Django are those that run this test.
"""

import re
from contextlib import closing
from pathlib import Path

import pytest
import requests
from redis import Redis

from devstack.process import wait_for
from devstack.valkey import Valkey
from fake_sendgrid.events import generate_events
from fake_sendgrid.webhook_sender import event_batch
from tests.support.flows import host_project
from tests.support.flows.databases import connect, on_postgres, on_sqlite
from tests.support.flows.deployment import PATIENCE, Servers
from tests.support.flows.host_project import HostProject

#: The receivers of the project that store their calls, of different kinds.
KINDS = 15

#: The settings of development, and settings for tests with Celery's `task_always_eager` and without keys.
SETTINGS, TEST_SETTINGS = "bookshop.settings", "bookshop.test_settings"


@pytest.fixture(scope="session")
def wheel_folder(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    host_project.install(built[0], folder)
    return folder


@pytest.fixture
def project(servers: Servers, wheel_folder: Path, tmp_path: Path) -> HostProject:
    valkey, database_url = servers
    return HostProject(tmp_path, wheel_folder, valkey, database_url)


def keys(valkey: Valkey) -> int:
    """The number of keys in all databases of the server."""
    with closing(Redis.from_url(valkey.url(0))) as server:
        return sum(database["keys"] for database in server.info("keyspace").values())


def commands_of_clients(valkey: Valkey) -> set[str]:
    """The commands that the server has got, without those of our own connections."""
    with closing(Redis.from_url(valkey.url(0))) as server:
        names = {name.removeprefix("cmdstat_") for name in server.info("commandstats")}
    return names - {"ping", "info", "quit", "hello", "select", "client|setinfo", "config|get"}


@on_sqlite
def test_the_project_imports_the_packages_from_the_wheel(project: HostProject, wheel_folder: Path) -> None:
    script = "import events_app, sending_app; print(events_app.__file__); print(sending_app.__file__)"
    assert project.run("-c", script).split() == [
        str(wheel_folder / "events_app" / "__init__.py"),
        str(wheel_folder / "sending_app" / "__init__.py"),
    ]


@on_postgres
def test_the_project_passes_the_checks_and_needs_no_migration(project: HostProject) -> None:
    project.run("manage.py", "migrate", "--verbosity", "0")
    checked = project.run("manage.py", "check", "--database", "default")
    assert "dispatch_uid" in checked  # for the receivers whose name is derived
    assert "No changes" in project.run("manage.py", "makemigrations", "--check", "--dry-run")


# The two runners meet both settings and both databases. The other pairs would prove nothing more.


@pytest.mark.parametrize(
    ("servers", "settings_module"),
    [("sqlite", SETTINGS), ("postgres", TEST_SETTINGS)],
    indirect=["servers"],
)
def test_the_tests_of_the_project_pass_with_djangos_runner_and_touch_no_redis(
    project: HostProject, servers: Servers, settings_module: str
) -> None:
    output = project.run("manage.py", "test", "--noinput", "--settings", settings_module)
    ran = re.search(r"^Ran (\d+) tests", output, re.MULTILINE)
    assert ran, output
    assert int(ran[1]) >= 10
    assert not keys(servers.valkey)
    assert not commands_of_clients(servers.valkey)


@pytest.mark.parametrize(
    ("servers", "settings_module"),
    [("sqlite", TEST_SETTINGS), ("postgres", SETTINGS)],
    indirect=["servers"],
)
def test_the_tests_of_the_project_pass_with_pytest_and_touch_no_redis(
    project: HostProject, servers: Servers, settings_module: str
) -> None:
    # The environment of our tests has a plugin that starts a Valkey; a project has none.
    output = project.run("-m", "pytest", "-W", "error", "-p", "no:valkey", "--ds", settings_module)
    passed = re.search(r"(\d+) passed", output)
    assert passed, output
    assert int(passed[1]) >= 13
    assert not keys(servers.valkey)
    assert not commands_of_clients(servers.valkey)


def test_web_and_worker_of_the_project_call_receivers_of_each_kind_once(
    project: HostProject, servers: Servers
) -> None:
    project.run("manage.py", "migrate", "--verbosity", "0")
    events = generate_events(20)
    url = f"http://127.0.0.1:{project.port}/anymail/sendgrid/tracking/"
    query = "SELECT receiver, COUNT(DISTINCT event_id), COUNT(*) FROM orders_call GROUP BY receiver"

    def calls() -> list[tuple[str, int, int]]:
        with connect(servers.database_url) as connection:
            rows: list[tuple[str, int, int]] = connection.execute(query).fetchall()
            return rows

    with project.web() as web, project.worker() as worker:
        wait_for(lambda: answers(url), seconds=PATIENCE, what="the project's web", unless_dead=web)
        assert project.sender.post(url, event_batch(events)).status_code == 200
        wait_for(
            lambda: sum(number for *_, number in calls()) >= KINDS * len(events),
            seconds=PATIENCE,
            what="the calls of all receivers",
            unless_dead=worker,
        )
    assert [row[1:] for row in calls()] == [(len(events), len(events))] * KINDS


def answers(url: str) -> bool:
    try:
        return requests.head(url, timeout=5).ok
    except requests.ConnectionError:
        return False
