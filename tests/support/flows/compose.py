"""docker-compose.yml, read by Compose itself, and its services as processes of this machine.

A service runs the command and the health check of the file in the environment of the file. Only names of
hosts, ports and paths are those of this machine: `Services` has them all.
"""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devstack.process import Process, free_port
from devstack.stack import BIN, ROOT
from devstack.valkey import find_program
from tests.support import image

Service = dict[str, Any]

OUR_IMAGE = "django-sendgrid-pipeline"

#: Ports that a service has in its container.
CONTAINER_PORTS = {"web": "8000", "proxy": "8000", "flower": "5555"}

#: The values of .env that have no default.
REQUIRED = {
    "DJANGO_SECRET_KEY": "0123456789-abcdefghijklmnopqrstuvwxyz_ABCDEFGHIJKLMNOPQRS",
    "DJANGO_ALLOWED_HOSTS": "mail.example.com",
    "POSTGRES_PASSWORD": "of-the-database",
    "FLOWER_PASSWORD": "of-flower",
}


def filled(values: Mapping[str, str]) -> str:
    """The text of .env: .env.example with these values."""
    text = (ROOT / ".env.example").read_text()
    for name, value in values.items():
        text, found = re.subn(rf"^#?{name}=.*$", rf"{name}='{value}'", text, flags=re.MULTILINE)
        assert found == 1, f".env.example has no line for {name}"
    return text


def run_compose(folder: Path, values: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Compose's command line with `values` in .env."""
    dotenv = folder / "dotenv"
    dotenv.write_text(filled(values))
    options = ["--project-directory", str(ROOT), "--env-file", str(dotenv)]
    command = [str(BIN / "docker-compose"), *options, *arguments]
    environment = {"PATH": os.defpath, "HOME": str(folder)}
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


def configuration(folder: Path, values: Mapping[str, str], *files: Path) -> dict[str, Any]:
    """The configuration that Compose makes of the file, and of further files, with `values` in .env."""
    options = [word for file in (ROOT / "docker-compose.yml", *files) for word in ("-f", str(file))]
    done = run_compose(folder, values, *options, "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    # Compose writes each $ of a value twice.
    found: dict[str, Any] = json.loads(done.stdout.replace("$$", "$"))
    return found


class Services:
    """Runs the services in `folder`, with PostgreSQL at a port that its caller has started."""

    def __init__(
        self, folder: Path, services: Mapping[str, Service], postgres: Path, postgres_port: int
    ) -> None:
        self.folder = folder
        self.services = services
        self.processes: dict[str, Process] = {}
        self._app = image.copy_context(folder / "app")
        self.ports = {name: free_port() for name in ("valkey", "web", "flower")}
        self._postgres_port = postgres_port
        self._path = [self._programs(), BIN, postgres, *os.defpath.split(os.pathsep)]

    def start(self, name: str) -> Process:
        service = self._service(name)
        arguments = [self._here(name, word) for word in service["command"]]
        if name == "valkey":
            arguments += ["--port", str(self.ports[name]), "--bind", "127.0.0.1"]
        program = shutil.which(arguments[0], path=self._environment(name)["PATH"])
        assert program
        self.processes[name] = process = Process(
            [program, *arguments[1:]],
            log=self.folder / f"{name}.log",
            env=self._environment(name),
            # The working directory of the image: /app in ours, /data in Valkey's.
            cwd=self.folder if name == "valkey" else self._app,
        )
        return process

    def is_healthy(self, name: str) -> bool:
        """Run the health check once, as Docker does after each interval."""
        check = self._service(name)["healthcheck"]
        kind, *words = [self._here(name, word) for word in check["test"]]
        environment = self._environment(name)
        arguments = {"CMD": words, "CMD-SHELL": ["/bin/sh", "-c", *words]}[kind]
        program = shutil.which(arguments[0], path=environment["PATH"])
        assert program
        try:
            done = subprocess.run(
                [program, *arguments[1:]],
                env=environment,
                cwd=self._app,
                timeout=float(check["timeout"].removesuffix("s")),
                capture_output=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()

    def _service(self, name: str) -> Service:
        given = {key: value for key, value in self.services[name].items() if value is not None}
        if given["image"] == OUR_IMAGE:
            command, check = image.instruction("CMD"), image.instruction("HEALTHCHECK")
            test = ["CMD", *json.loads(check.partition("CMD ")[2])]
            timeout = re.findall(r"--timeout=(\d+s)", check)[0]
            given = {
                "command": json.loads(command),
                "healthcheck": {"test": test, "timeout": timeout},
                **given,
            }
        return given

    def _environment(self, name: str) -> dict[str, str]:
        given = self.services[name].get("environment", {})
        environment = {key: self._here(name, value) for key, value in given.items() if value is not None}
        return environment | {
            # What Docker and the images set.
            "PATH": os.pathsep.join(map(str, self._path)),
            "HOSTNAME": socket.gethostname(),
            "PYTHONUNBUFFERED": "1",
            # pg_isready asks the default port.
            "PGPORT": str(self._postgres_port),
        }

    def _here(self, name: str, text: str) -> str:
        """The text with the addresses of this machine."""
        places = {
            "valkey:6379": f"127.0.0.1:{self.ports['valkey']}",
            "postgres:5432": f"127.0.0.1:{self._postgres_port}",
            "valkey-cli ping": f"valkey-cli -p {self.ports['valkey']} ping",
            "0.0.0.0": "127.0.0.1",
        }
        if name in CONTAINER_PORTS:
            places[CONTAINER_PORTS[name]] = str(self.ports[name])
        for container, here in places.items():
            text = text.replace(container, here)
        return text

    def _programs(self) -> Path:
        """A folder with the programs of Valkey's image."""
        folder = self.folder / "programs"
        folder.mkdir()
        programs = {
            "valkey-server": find_program(),
            "valkey-cli": shutil.which("valkey-cli") or shutil.which("redis-cli"),
        }
        for name, program in programs.items():
            assert program
            (folder / name).symlink_to(program)
        return folder
