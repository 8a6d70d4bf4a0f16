"""Python programs that start in a third of the time: forks of a process that has imported their libraries.

The imports of Django and Celery cost half a second of CPU at each start of a web process, a worker or a
command, and the tests start hundreds. A fork is a process as any other: it has its own environment, session
and log, and imports the whole project itself, under its own settings.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path

from devstack import stack
from devstack.process import Process, end_group_with_parent

#: Libraries of web, worker and commands that need no settings and start no thread.
LIBRARIES = (
    *("celery.apps.worker", "celery.beat", "celery.bin.celery", "celery.concurrency.prefork"),
    *("celery.concurrency.solo", "celery.concurrency.thread", "celery.fixups.django"),
    *("celery.worker.consumer", "celery.worker.strategy"),
    *("cryptography.hazmat.primitives.serialization", "django.contrib.admin"),
    *("django.contrib.staticfiles.finders", "django.core.handlers.asgi"),
    *("django.core.management.commands.migrate", "django.core.wsgi"),
    *("django.db.backends.postgresql.base", "django.db.backends.sqlite3.base"),
    *("django.middleware.clickjacking", "django.middleware.common", "django.middleware.security"),
    *("django.views.generic", "environ", "granian.cli", "granian.server", "kombu.transport.redis"),
    *("msgspec", "multipart", "psycopg", "redis.sentinel", "requests"),
    *("whitenoise.middleware"),
)

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([*LIBRARIES, __name__])


def end() -> None:
    """Wait for the process behind the forks. Unless its parent does, nobody counts the CPU that they took."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


class Stack(stack.Stack):
    """The deployment's processes as forks."""

    def _run(self, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return run(args, self.env | variables, stack.ROOT)

    def _launch(self, args: Sequence[str | Path], log: Path, env: Mapping[str, str]) -> Process:
        return PreloadedProcess(args, log=log, env=env, cwd=stack.ROOT)


class PreloadedProcess(Process):
    """A script, or the interpreter with a script or with `-m` and a module."""

    def __init__(self, args: Sequence[str | Path], *, log: Path, env: Mapping[str, str], cwd: Path) -> None:
        self.log = log
        self._group_is_gone = False
        self._popen = Fork([str(word) for word in args], env, cwd, output=log, errors=log)
        end_group_with_parent(self._popen.pid)


def run(args: Sequence[str], env: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` that captures text."""
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder, "output"), Path(folder, "errors")
        fork = Fork(args, env, cwd, output=output, errors=errors)
        return subprocess.CompletedProcess(args, fork.wait(), output.read_text(), errors.read_text())


class Fork:
    """A Python program as a child process; `Process` needs no more of a `subprocess.Popen`."""

    def __init__(
        self, args: Sequence[str], env: Mapping[str, str], cwd: Path, *, output: Path, errors: Path
    ) -> None:
        started, starting = _FORKS.Pipe(duplex=False)
        self._process = _FORKS.Process(
            target=_become,
            args=(list(args), dict(env), cwd),
            kwargs={"output": output, "errors": errors, "starting": starting},
            name="MainProcess",  # as Celery's log lines have it
        )
        self._process.start()
        starting.close()
        with started:
            started.poll(None)  # until the child leads a session of its own
        assert self._process.pid
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return self._process.exitcode

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)


def _become(
    args: list[str], env: dict[str, str], cwd: Path, *, output: Path, errors: Path, starting: Connection
) -> None:
    os.setsid()
    for path, standard in ((output, 1), (errors, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, standard)
        os.close(file)
    starting.close()
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, TextIOWrapper)
        stream.reconfigure(write_through=True)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.path[:0] = env["PYTHONPATH"].split(os.pathsep)
    sys.dont_write_bytecode = bool(env.get("PYTHONDONTWRITEBYTECODE"))
    # A child of multiprocessing has its parent's method, and Granian asks for it.
    multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
    if args[0] == sys.executable:
        args = args[1:]
    if args[0] == "-m":
        sys.argv = args[1:]
        runpy.run_module(args[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = args
        runpy.run_path(args[0], run_name="__main__")
