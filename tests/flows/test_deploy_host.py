"""docs/host-project.md: the blocks make a project of `startproject` work."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from devstack.stack import BIN
from fake_sendgrid.events import generate_events
from fake_sendgrid.webhook_sender import event_batch
from tests.support.documents import block, commands, files
from tests.support.flows.databases import on_postgres
from tests.support.flows.deployment import PATIENCE, Servers
from tests.support.flows.machine import Machine
from tests.support.sending.django_mail import HAS_MAILERS

#: The page has a line for each version of Django.
EMAIL_BACKEND = '\nEMAIL_BACKEND = "sending_app.backends.queued.EmailBackend"\n'


@pytest.fixture
def machine(servers: Servers, tmp_path: Path) -> Iterator[Machine]:
    """A new project of Django's own, on these servers, and a clone of our repository beside it."""
    machine = Machine(tmp_path / "machine", servers.database_url)
    machine.ports["6379"] = servers.valkey.port
    machine.clone()
    machine.project = tmp_path / "site"
    machine.project.mkdir()
    yield machine
    machine.close()


def install(machine: Machine, folder: Path) -> None:
    """Build and install the wheel as the page says, into a folder of its own and without a download."""
    machine.add_program("pip", f'#!/bin/sh\nexec {sys.executable} -m pip "$@"\n')
    site, machine.project = machine.project, machine.clone_folder
    # pip's switch is the wrong way round: 0 turns the isolation off.
    options = {
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_TARGET": str(folder),
    }
    machine.shell(block("docs/host-project.md", "Set it up", 1), **options)
    machine.project = site


def write_project(machine: Machine) -> None:
    subprocess.run(
        [sys.executable, "-m", "django", "startproject", "yourproject", "."], cwd=machine.project, check=True
    )
    settings = block("docs/host-project.md", "Set it up", 2)
    settings += block("docs/logs.md", "In a project of your own")
    if not HAS_MAILERS:
        settings = re.sub(r"\nMAILERS = .*\n", EMAIL_BACKEND, settings)
    for secret, ours in (("MFkwEwYHKoZI...", machine.sender.public_key), ("SG....", "SG.fake")):
        assert secret in settings
        settings = settings.replace(secret, ours)
    pages = [
        settings,
        block("docs/monitoring.md", "In your own Django project"),
        block("docs/host-project.md", "Set it up", 3),
        block("docs/host-project.md", "Set it up", 4),
        block("docs/host-project.md", "Set it up", 5),
        block("docs/deploy.md", "Your own apps", 1),
    ]
    for page in pages:
        for name, text in files(page).items():
            path = machine.project / name
            path.parent.mkdir(exist_ok=True)
            before = path.read_text() if path.exists() else ""
            path.write_text(f"{before}\n{machine.mapped(text)}")
    # The receivers of the page's app, this machine's SendGrid, and its database.
    url = machine.database_url
    with (machine.project / "yourproject/settings.py").open("a") as file:
        file.write(f'\nINSTALLED_APPS += ["news"]\nANYMAIL["SENDGRID_API_URL"] = "{machine.sendgrid.url}"\n')
        file.write(f'import environ\nDATABASES = {{"default": environ.Env.db_url_config("{url}")}}\n')


@on_postgres
def test_the_page_makes_a_new_project_receive_events_and_send_mail(machine: Machine, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    install(machine, packages)
    write_project(machine)
    env = {"PYTHONPATH": str(packages), "PATH": f"{BIN}:{machine.env['PATH']}"}
    django = f"{sys.executable} manage.py"
    machine.shell(f"{django} migrate --verbosity 0", **env)
    checked = machine.shell(f"{django} check --deploy --database default", **env)
    assert "events_app.E" not in checked
    assert "sending_app.E" not in checked
    where = machine.shell(f"{sys.executable} -c 'import events_app; print(events_app.__file__)'", **env)
    assert where.strip() == str(packages / "events_app/__init__.py")

    workers = commands(block("docs/host-project.md", "Set it up", 6))
    for number, command in enumerate(workers):
        machine.start(f"celery-{number}", command, env | {"PYTHONPATH": f"{packages}:{machine.project}"})
    machine.start("web", f"{sys.executable} manage.py runserver --noreload {machine.ports['8000']}", env)
    machine.wait(lambda: machine.head("/mail/sendgrid/tracking/") == 200, "web answers", "web")
    bounce = {
        "event": "bounce",
        "type": "bounce",
        "email": "bo@example.com",
        "sg_event_id": "b-1",
        "timestamp": 1790000000,
    }
    posted = event_batch([*generate_events(20), bounce])
    assert machine.sender.post(f"{machine.url}/mail/sendgrid/tracking/", posted).status_code == 200
    bounced = lambda: " bounced: bounced" in machine.processes["celery-0"].output()  # noqa: E731
    machine.wait(bounced, "the receiver is called", "celery-0")
    machine.shell(f"{django} sendtestemail ann@example.com", **env)
    machine.wait(lambda: machine.sendgrid.accepted_for("ann@example.com"), "the mail", "celery-2")
    ticked = lambda: "last tick of beat's came" in machine.shell(f"{django} events status", **env)  # noqa: E731
    machine.wait(ticked, "beat's tick", "celery-3")
    for path, line in (("livez", "ok"), ("readyz", "ok: 1 worker takes mails: queue sendgrid.mail.")):
        answer = requests.get(f"{machine.url}/{path}", headers={"Host": "10.1.2.3"}, timeout=PATIENCE)
        assert answer.status_code == 200
        assert line in answer.text.splitlines()
