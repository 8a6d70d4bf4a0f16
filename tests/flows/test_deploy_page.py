"""docs/deploy.md, "Without docker": its blocks run as they stand, in an environment of their own."""

import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from events_app.dispatch import leases
from sending_app import tasks as sending_tasks
from tests.support.documents import block, commands, files
from tests.support.flows.databases import postgres_database
from tests.support.flows.machine import Machine, fill_in

#: What the output of pip has if no index answers.
NO_INDEX = re.compile("No matching distribution|Could not find a version|Max retries|Connection")

#: The longest time to stop, in seconds, that the page and the units allow.
STOP = {
    "worker": leases.hard_limit() + 15,
    "inbound": leases.hard_limit() + 15,
    "mailer": sending_tasks.sending_hard_limit() + 10,
    "bulk": sending_tasks.sending_hard_limit() + 10,
}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with postgres_database(os.environ["TEST_DATABASE_URL"]) as url:
        machine = Machine(tmp_path, url)
        machine.clone()
        yield machine
        machine.close()


def name_of(command: str) -> str:
    """The process that the command starts."""
    if named := re.search(r" -n (\w+)@", command):
        return named[1]
    (name,) = (name for name in ("valkey", "granian", "beat", "flower") if name in command)
    return {"granian": "web"}.get(name, name)


def add_own_app(machine: Machine) -> None:
    """The app of the page, and a package that it needs: a wheel that no index has."""
    for name, text in files(block("docs/deploy.md", "Your own apps")).items():
        (machine.project / name).parent.mkdir(exist_ok=True)
        (machine.project / name).write_text(text)
    wheel = machine.folder / "of_an_own_app-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("of_an_own_app.py", "")
        about = "Metadata-Version: 2.1\nName: of-an-own-app\nVersion: 1.0\n"
        archive.writestr("of_an_own_app-1.0.dist-info/METADATA", about)
        archive.writestr("of_an_own_app-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("of_an_own_app-1.0.dist-info/RECORD", "")
    (machine.project / "requirements/extra.txt").write_text(f"of-an-own-app @ file://{wheel}\n")


@pytest.mark.timeout(600)  # pip installs thirty packages
def test_the_page_without_docker_from_an_empty_folder_to_eight_processes(machine: Machine) -> None:
    try:
        machine.shell(block("docs/deploy.md", "Without docker", 1))
    except AssertionError as failed:
        if NO_INDEX.search(str(failed)):
            pytest.skip("no package index answers: the page's `pip install` cannot run")
        raise
    add_own_app(machine)
    machine.shell(block("docs/deploy.md", "Your own apps", 2), PIP_NO_INDEX="1")
    machine.shell(".venv/bin/python -c 'import of_an_own_app'")
    machine.shell(block("docs/deploy.md", "Without docker", 2))
    environment_file = machine.project.parent / "pipeline.env"
    assert environment_file.stat().st_mode & 0o777 == 0o600
    env = machine.settings | {"DJANGO_EXTRA_APPS": "news"}
    fill_in(environment_file, env)
    load = block("docs/deploy.md", "Without docker", 3)
    machine.shell(load + block("docs/deploy.md", "Without docker", 4))
    assert (machine.project / "static/admin").is_dir()

    processes = {name_of(one): one for one in commands(block("docs/deploy.md", "Without docker", 5))}
    assert len(processes) == 8
    # Its default port may be taken.
    valkey = f"{processes.pop('valkey')} --port {machine.ports['6379']}"
    machine.start("valkey", valkey, {}, machine.folder / "var/lib/valkey")
    for name, command in processes.items():
        machine.start(name, f"{load.strip()}; exec {command}", {})
    machine.check_all_answer(env)
    assert machine.processes["worker"].output().count(" bounced: bounced") == 1

    for process in machine.processes.values():
        os.kill(process.pid, 15)
    for name, process in machine.processes.items():
        assert process.wait(STOP.get(name, 15)) == 0, f"{name}: {process.output()[-2000:]}"


def test_the_page_names_the_times_to_stop() -> None:
    text = block("docs/deploy.md", "Without docker", 5)
    assert "Allow RECEIVER_TIME_LIMIT and 45 seconds to stop" in text
    assert "Allow twice REQUESTS_TIMEOUT and 70 seconds to stop" in text
    assert STOP["worker"] <= 30 + 45
    assert STOP["mailer"] <= 2 * 30 + 70
