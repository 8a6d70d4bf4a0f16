"""A machine that a test sets up by the words of docs/deploy.md: folders and programs of its own, no root.

The page's paths lie in the machine's folder. Programs that need root or a running systemd are
replaced by scripts, and services listen on ports of their own.
"""

import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import requests

from devstack.process import Process, free_port, wait_for
from devstack.stack import PASSED_ON
from devstack.valkey import find_program
from fake_sendgrid import inbound_form
from fake_sendgrid.events import generate_events
from fake_sendgrid.server import FakeSendGrid
from fake_sendgrid.webhook_sender import WebhookSender, event_batch
from tests.support.documents import ROOT
from tests.support.flows.databases import connect
from tests.support.inbound.mails import sample_mail

#: Seconds.
PATIENCE = 150

#: What a clone of the repository has, and a deployment uses.
_CLONED = (
    *("events_app", "sending_app", "overview_app", "fake_sendgrid", "workers", "project"),
    *("requirements", "manage.py"),
)
_PACKAGED = ("pyproject.toml", "README.md", "LICENSE")

#: Programs in the place of those that need root, or another user.
_SCRIPTS = {
    "useradd": "exit 0",
    "runuser": 'shift 3; exec "$@"',  # runuser -u USER -- COMMAND
    # install -m MODE [-g GROUP] FROM TO
    "install": 'mode=$2; shift 2; [ "$1" = -g ] && shift 2; exec /usr/bin/install -m "$mode" "$@"',
    "systemctl": 'echo "$@" >>"$SYSTEMCTL_LOG"',
}

WORKERS = ("worker", "inbound", "mailer", "bulk")


class Machine:
    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        #: The working directory of blocks and processes; at first the clone of the repository.
        self.project = self.clone_folder = folder / "srv" / "pipeline"
        self.database_url = database_url
        self.sender = WebhookSender()
        self.ports = {"6379": free_port(), "8000": free_port(), "5555": free_port()}
        self.url = f"http://127.0.0.1:{self.ports['8000']}"
        self.sendgrid = FakeSendGrid(sender=self.sender, webhook_url=f"{self.url}/anymail/sendgrid/tracking/")
        self.settings = {
            "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
            "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
            "DATABASE_URL": database_url,
            "REDIS_URL": f"redis://127.0.0.1:{self.ports['6379']}/0",
            "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY": self.sender.public_key,
            "SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY": self.sender.public_key,
            "INBOUND_FOLDER": str(folder / "var/lib/pipeline/inbound"),
            "SENDGRID_API_KEY": "SG.fake",
            "SENDGRID_API_URL": self.sendgrid.url,
            "DEFAULT_FROM_EMAIL": "shop@example.com",
            "FLOWER_BASIC_AUTH": "flower:petals",
        }
        self.processes: dict[str, Process] = {}
        for name in ("etc/systemd/system", "etc/nginx/conf.d", "var/lib/pipeline", "var/lib/valkey", "bin"):
            (folder / name).mkdir(parents=True)
        for name, script in _SCRIPTS.items():
            self.add_program(name, f"#!/bin/sh\n{script}\n")
        self.link_program("python3", sys.executable)
        self.link_program("valkey-server", find_program())
        self.env = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "SYSTEMCTL_LOG": str(folder / "systemctl.log"),
        }

    def add_program(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def link_program(self, name: str, program: str | Path) -> None:
        # A script, not a link: a Python finds its environment by its own path.
        self.add_program(name, f'#!/bin/sh\nexec "{program}" "$@"\n')

    def clone(self) -> None:
        """Put the repository where the page wants it."""
        self.project.mkdir(parents=True)
        for name in _CLONED + _PACKAGED:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, self.project / name, ignore=ignored)
            else:
                shutil.copy(ROOT / name, self.project / name)

    def use_environment_of_test(self) -> None:
        """Take the environment of this test for the page's `.venv`."""
        (self.project / ".venv").symlink_to(sys.prefix)

    def mapped(self, text: str) -> str:
        """The text with the paths and ports of this machine."""
        text = re.sub(r"(?<![\w.])/(srv/pipeline|etc|var/lib)/?\b", rf"{self.folder}/\1/", text)
        for port, ours in self.ports.items():
            text = re.sub(rf"(?<=\W){port}\b", str(ours), text)
        return re.sub("(?<!:)//", "/", text)

    def shell(self, text: str, **env: str) -> str:
        """Run a block of shell in the project's folder, and return its output. Fails if a line fails."""
        done = subprocess.run(
            ["/bin/sh", "-eu", "-c", self.mapped(text)],
            cwd=self.project,
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}"
        return done.stdout

    def start(self, name: str, command: str, env: Mapping[str, str], cwd: Path | None = None) -> Process:
        arguments = ["/bin/sh", "-c", self.mapped(command if "exec " in command else f"exec {command}")]
        log = self.folder / f"{name}.log"
        process = Process(arguments, log=log, env={**self.env, **env}, cwd=cwd or self.project)
        self.processes[name] = process
        return process

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
        self.sendgrid.close()

    # --- The processes of a deployment: web, four workers, beat, flower ---

    def check_all_answer(self, env: Mapping[str, str]) -> None:
        """Each process does its work: events, mails of both lanes and inbound mails arrive."""
        self.wait(lambda: self.head("/anymail/sendgrid/tracking/") == 200, "web answers", "web")
        # Before that, each question to the workers is two seconds of CPU in vain.
        self.wait(
            lambda: all(" ready." in self.processes[name].output() for name in WORKERS), "workers", *WORKERS
        )
        pong = ".venv/bin/celery -A workers.app inspect ping --timeout 3 | cat"

        def all_workers_answer() -> bool:
            answer = self.shell(pong, **env)
            return all(f"{name}@" in answer for name in WORKERS)

        self.wait(all_workers_answer, "the workers answer", *WORKERS)
        bounce = {"event": "bounce", "type": "bounce", "email": "bo@example.com", "sg_event_id": "bounce-1"}
        events = event_batch([*generate_events(3), bounce | {"timestamp": int(time.time())}])
        assert self.sender.post(f"{self.url}/anymail/sendgrid/tracking/", events).status_code == 200
        form = inbound_form.raw_form(sample_mail())
        inbound_url = f"{self.url}/anymail/sendgrid/inbound/"
        answer = self.sender.post(inbound_url, form.body(), content_type=form.content_type)
        assert answer.status_code == 200
        bulk_mail = (
            "from sending_app.message import SendGridMessage as M; "
            "M(subject='News', body='New.', to=['bulk@example.com'], bulk=True).send(); "
            "M(subject='Hello', body='Hi.', to=['ann@example.com']).send()"
        )
        self.shell(f'.venv/bin/python manage.py shell -c "{bulk_mail}"', **env)
        for address in ("bulk@example.com", "ann@example.com"):
            self.wait(lambda to=address: self.sendgrid.accepted_for(to), f"mail to {address}", *WORKERS)
        self.wait(
            lambda: self._count("inboundmail") and not self._count("pendinginbounddelivery"), "inbound mail"
        )
        self.wait(lambda: self._count("event") >= 4 and not self._count("pendingdelivery"), "events")
        status = ".venv/bin/python manage.py events status"
        self.wait(lambda: "last tick of beat's came" in self.shell(status, **env), "beat's tick", "beat")
        flower = f"http://127.0.0.1:{self.ports['5555']}"
        self.wait(lambda: _status(f"{flower}/healthcheck") == 200, "flower", "flower")
        assert _status(f"{flower}/workers") == 401
        assert requests.get(f"{flower}/workers", auth=("flower", "petals"), timeout=10).status_code == 200

    def head(self, path: str) -> int:
        try:
            return requests.head(self.url + path, timeout=5).status_code
        except requests.ConnectionError:
            return 0

    def wait(self, condition: object, what: str, *names: str) -> None:
        """Wait for a condition; the message of a failure has the logs of these processes."""
        try:
            wait_for(condition, seconds=PATIENCE, what=what)  # type: ignore[arg-type]
        except TimeoutError as late:
            logs = "\n".join(f"{name}: {self.processes[name].output()[-3000:]}" for name in names)
            raise AssertionError(f"{late}\n{logs}") from late

    def _count(self, table: str) -> int:
        with connect(self.database_url) as connection:
            ((count,),) = connection.execute(f"SELECT count(*) FROM events_app_{table}").fetchall()
            return int(count)


def _status(url: str) -> int:
    try:
        return requests.get(url, timeout=5).status_code
    except requests.ConnectionError:
        return 0


def fill_in(path: Path, settings: Mapping[str, str]) -> None:
    """Write the values into an environment file, as a deployer does; new names at its end."""
    text = path.read_text()
    for name, value in settings.items():
        line = f"{name}='{value}'"
        text, count = re.subn(rf"^#?{name}='.*'$", line.replace("\\", r"\\"), text, flags=re.MULTILINE)
        text += "" if count else f"{line}\n"
    path.write_text(text)
