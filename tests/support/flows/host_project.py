"""The bookshop of `tests/host_project`, outside the repository, on the built wheel."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from devstack.process import Process, free_port
from devstack.stack import BIN, PASSED_ON, QUEUES
from devstack.valkey import Valkey
from fake_sendgrid.webhook_sender import WebhookSender

SOURCE = Path(__file__).parents[2] / "host_project"


class HostProject:
    """A copy of the project. Its commands import our packages from the wheel alone."""

    def __init__(self, folder: Path, wheel_folder: Path, valkey: Valkey, database_url: str) -> None:
        self.sender = WebhookSender()
        self.port = free_port()
        self.folder = folder / "project"
        shutil.copytree(SOURCE, self.folder, ignore=shutil.ignore_patterns("__pycache__"))
        self.env = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
            "PYTHONPATH": str(wheel_folder),
            "PYTHONUNBUFFERED": "1",
            "DATABASE_URL": database_url,
            "REDIS_URL": valkey.url(0),
            "BROKER_URL": valkey.url(1),
            "VERIFICATION_KEY": self.sender.public_key,
        }

    def run(self, *args: str) -> str:
        """Run Python with warnings as errors, and return its output of both kinds. Fails if it fails."""
        done = subprocess.run(
            [sys.executable, "-W", "error", *args],
            env=self.env,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def web(self) -> Process:
        return self._start(
            *("granian", "--interface", "wsgi", "bookshop.wsgi:application"),
            *("--host", "127.0.0.1", "--port", str(self.port), "--no-ws", "--backpressure", "16"),
        )

    def worker(self) -> Process:
        return self._start("celery", "-A", "bookshop", "worker", "--concurrency", "2", "-Q", ",".join(QUEUES))

    def _start(self, program: str, *args: str) -> Process:
        """Start a program that, unlike Python, does not look for modules in its working directory."""
        path = os.pathsep.join([self.env["PYTHONPATH"], str(self.folder)])
        env = self.env | {"PYTHONPATH": path}
        return Process([BIN / program, *args], log=self.folder / f"{program}.log", env=env, cwd=self.folder)


def install(wheel: Path, folder: Path) -> None:
    """Unpack the wheel as pip does, without its dependencies."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--no-index"]
    subprocess.run([*command, "--target", str(folder), str(wheel)], check=True)
