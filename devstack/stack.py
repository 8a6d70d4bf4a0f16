"""Starts the processes of a deployment on this machine: web, workers and beat of `project`."""

import os
import secrets
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess, run
from typing import Self

from devstack.process import Process, free_port, stop_all, wait_for

ROOT = Path(__file__).resolve().parent.parent
#: The folder of this environment's programs. The path is not resolved: that would leave the environment.
BIN = Path(sys.executable).parent

#: The queues of `workers.app`, which cannot be imported without its settings. A test compares them.
EVENT_QUEUES = ("sendgrid.events", "sendgrid.retries", "sendgrid.recovery")
INBOUND_QUEUES = ("sendgrid.inbound",)
MAIL_QUEUES = ("sendgrid.mail", "sendgrid.bulk")
QUEUES = EVENT_QUEUES + INBOUND_QUEUES + MAIL_QUEUES

#: Granian's options, the same as in the Dockerfile and docs/deploy.md.
WEB_OPTIONS = (
    "--no-ws",
    # With HTTP/2 an idle connection has no time limit.
    *("--http", "1", "--http1-header-read-timeout", "10000"),
    # Connections, and requests that may wait for their bodies. `project.bodies` limits the requests at work.
    *("--backpressure", "2048", "--blocking-threads", "640"),
    # A SIGTERM during a worker's import of the project is lost: granian/server/mp.py forks, and the child has
    # the parent's handler until `set_loop_signals`.
    *("--workers-kill-timeout", "10", "--respawn-failed-workers", "--log-level", "warning"),
)

#: The variables that a process inherits. None of them may point to a service of the caller.
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")

_ADD_ADMIN = """
import os
from django.contrib.auth.models import User

admin, _ = User.objects.get_or_create(username="admin", defaults={"is_staff": True, "is_superuser": True})
if not admin.check_password(os.environ["ADMIN_PASSWORD"]):
    admin.set_password(os.environ["ADMIN_PASSWORD"])
    admin.save()
"""


class Stack:
    settings_module = "project.settings"
    wsgi = "project.wsgi:application"
    celery = "workers.app"

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self.env |= {
            "DJANGO_SETTINGS_MODULE": self.settings_module,
            "DJANGO_SECRET_KEY": secrets.token_urlsafe(32),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        self.env |= settings
        self.port = free_port()
        self.flower_port = free_port()
        #: The processes by the names of their starts.
        self.started: dict[str, Process] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def webhook_url(self) -> str:
        return f"{self.url}anymail/sendgrid/tracking/"

    @property
    def inbound_url(self) -> str:
        return f"{self.url}anymail/sendgrid/inbound/"

    @property
    def metrics_url(self) -> str:
        return f"{self.url}metrics"

    @property
    def flower_url(self) -> str:
        return f"http://127.0.0.1:{self.flower_port}/"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, grace: float = 15) -> list[str]:
        """Stop all processes at the same time. Return the names of those that had to be killed."""
        late = stop_all(self.started.values(), grace)
        return [name for name, process in self.started.items() if process in late]

    def manage(self, *args: str, **variables: str) -> str:
        """Run a management command, with further environment variables, and return its output.

        Raises RuntimeError with its errors.
        """
        done = self.run_manage(*args, **variables)
        if done.returncode:
            raise RuntimeError(f"manage.py {' '.join(args)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def run_manage(self, *args: str, **variables: str) -> CompletedProcess[str]:
        """Run a management command, whatever its exit status."""
        return self._run(sys.executable, str(ROOT / "manage.py"), *args, **variables)

    def web(self) -> Process:
        """Start the web process and wait until it listens."""
        web = self.start_web()
        wait_for(lambda: is_listening(self.port), seconds=30, what="web", unless_dead=web)
        return web

    def start_web(self) -> Process:
        """Start the web process without waiting."""
        granian = (BIN / "granian", "--interface", "wsgi", self.wsgi)
        return self._start("web", *granian, "--host", "127.0.0.1", "--port", str(self.port), *WEB_OPTIONS)

    def worker(self, *options: str, name: str = "worker", queues: Sequence[str] = QUEUES) -> Process:
        """Start a Celery worker (default: for all queues) and wait until it is ready."""
        log = self.folder / f"{name}.log"
        earlier = log.stat().st_size if log.exists() else 0  # an earlier run may have written it
        worker = self.start_worker(*options, name=name, queues=queues)
        wait_for(lambda: b" ready." in log.read_bytes()[earlier:], seconds=60, what=name, unless_dead=worker)
        return worker

    def start_worker(self, *options: str, name: str = "worker", queues: Sequence[str] = QUEUES) -> Process:
        """Start a Celery worker without waiting."""
        return self._start(
            name,
            *(BIN / "celery", "-A", self.celery, "worker", "-Q", ",".join(queues), "-n", f"{name}@%h"),
            *("--without-gossip", "--without-mingle", *options),
        )

    def mailer(self, *options: str, name: str = "mailer", queues: Sequence[str] = MAIL_QUEUES) -> Process:
        """Start a worker that sends mail. It uses threads, because they mostly wait for SendGrid."""
        threads = ("--pool", "threads", "--concurrency", "4")
        return self.worker(*threads, "--task-events", *options, name=name, queues=queues)

    def inbound(self) -> Process:
        """Start a worker that parses inbound mail, so that no event waits for a mail."""
        return self.worker(name="inbound", queues=INBOUND_QUEUES)

    def beat(self) -> Process:
        """Start Celery beat, which schedules the ticks."""
        return self._start("beat", BIN / "celery", "-A", self.celery, "beat")

    def flower(self, user: str, password: str) -> Process:
        """Start flower and wait until it listens."""
        flower = self._start(
            "flower",
            *(BIN / "celery", "-A", self.celery, "flower", "--conf=workers/flowerconfig.py"),
            *("--address=127.0.0.1", f"--port={self.flower_port}"),
            # Not an argument, because the list of processes shows arguments.
            FLOWER_BASIC_AUTH=f"{user}:{password}",
        )
        wait_for(lambda: is_listening(self.flower_port), seconds=60, what="flower", unless_dead=flower)
        return flower

    def add_admin(self, password: str) -> None:
        """Add the superuser "admin", or give the user another password."""
        self.manage("shell", "--verbosity", "0", "-c", _ADD_ADMIN, ADMIN_PASSWORD=password)

    def seed(self, *, events: int, mails: int) -> str:
        """Fill the empty database with data (`devstack.seed`); return the output. Raises RuntimeError."""
        done = self._run(
            *(sys.executable, "-m", "devstack", "seed", "--events", str(events), "--mails", str(mails))
        )
        if done.returncode:
            raise RuntimeError(f"seed failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def python(self, name: str, code: str) -> Process:
        """Start a process that runs `code` with Django set up."""
        return self._start(name, BIN / "python", ROOT / "manage.py", "shell", "--verbosity", "0", "-c", code)

    def _run(self, *args: str, **variables: str) -> CompletedProcess[str]:
        return run(args, env=self.env | variables, cwd=ROOT, capture_output=True, text=True, check=False)

    def _start(self, name: str, *args: str | Path, **variables: str) -> Process:
        self.started[name] = process = self._launch(args, self.folder / f"{name}.log", self.env | variables)
        return process

    def _launch(self, args: Sequence[str | Path], log: Path, env: Mapping[str, str]) -> Process:
        return Process(args, log=log, env=env, cwd=ROOT)


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
