"""A child process that can be stopped, killed and frozen with its children, and that never outlives us.

Each process leads its own session, so a signal to its group reaches its children and no other process. A
reaper (see `devstack.reaper`) ends each process if we are killed.
"""

import atexit
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, Self, TypeVar

from devstack import reaper

T = TypeVar("T")

# The child registers itself at the reaper, through its first stdin, before it becomes the program. If the
# parent registered it, a kill between the start and the registration would leave an orphan. The exec closes
# the child's first stdout together with the reaper's pipe.
LAUNCH = ("/bin/sh", "-c", 'echo "add $$" >&0; exec "$0" "$@" </dev/null >&2')


class Reaper:
    """The reaper of this process. The first child starts it."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._popen: subprocess.Popen[bytes] | None = None

    def pipe(self) -> int:
        with self._starting:
            if self._popen is None or self._popen.poll() is not None:
                # Start it by its path and isolated, so that no folder or PYTHONPATH can break it.
                self._popen = subprocess.Popen(
                    [sys.executable, "-I", "-S", reaper.__file__],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    cwd="/",
                )
            assert self._popen.stdin
            return self._popen.stdin.fileno()

    def send(self, line: str) -> None:
        # A killed reaper must not keep us from stopping the other processes.
        with suppress(BrokenPipeError):
            # A pipe keeps one write of a short line whole, among the lines of the children.
            os.write(self.pipe(), f"{line}\n".encode())

    def end_the_rest(self) -> None:
        if self._popen and self._popen.stdin:
            self._popen.stdin.close()
            self._popen.wait()

    def forget(self) -> None:
        """Close the pipe in a fork of ours. Otherwise the reaper would not see our death."""
        if self._popen and self._popen.stdin:
            self._popen.stdin.close()
        self._starting = threading.Lock()
        self._popen = None


_REAPER = Reaper()
atexit.register(_REAPER.end_the_rest)
os.register_at_fork(after_in_child=_REAPER.forget)


class Child(Protocol):
    """The interface that `Process` needs of a child, such as `subprocess.Popen`."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...


class Process:
    _popen: Child

    def __init__(
        self,
        args: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
    ) -> None:
        if shutil.which(args[0]) is None:  # otherwise only the log would have the shell's error
            raise FileNotFoundError(f"there is no program {args[0]}")
        owner = pwd.getpwnam(user) if user else None
        self.log = log
        self._group_is_gone = False
        with log.open("ab") as output:
            child = subprocess.Popen(
                [*LAUNCH, *map(str, args)],
                stdin=_REAPER.pipe(),
                stdout=subprocess.PIPE,
                stderr=output,
                env=env,
                cwd=cwd,
                start_new_session=True,
                user=owner and owner.pw_uid,
                group=owner and owner.pw_gid,
                extra_groups=[] if owner else None,
            )
        # Wait until the child has closed the reaper's pipe: frozen before, it would hide our death.
        assert child.stdout
        with child.stdout as first:
            first.read()
        self._popen = child

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether the main process runs. Its children may outlive it."""
        running = self._popen.poll() is None
        if not running:
            self._reach(0)
        return running

    def stop(self, grace: float = 15, *, by: signal.Signals = signal.SIGTERM) -> None:
        """Signal the main process, wait for it, and then kill the whole group."""
        if self.alive:
            self.terminate(by=by)
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(grace)
        self.kill()

    def terminate(self, *, by: signal.Signals = signal.SIGTERM) -> None:
        """Signal the main process, without waiting for it."""
        self._popen.send_signal(by)
        self.thaw()  # a frozen process handles no signal

    def kill(self) -> None:
        self._reach(signal.SIGKILL)
        self._popen.wait()
        # A successor needs the port, so wait until the group has exited.
        while self._reach(signal.SIGKILL) and reaper.is_alive(-self.pid):
            time.sleep(0.005)

    def freeze(self) -> None:
        self._reach(signal.SIGSTOP)

    def thaw(self) -> None:
        self._reach(signal.SIGCONT)

    def wait(self, timeout: float) -> int:
        """The exit status of the main process."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"process {self.pid} has not ended within {timeout:g} s") from None

    def output(self) -> str:
        """The text of its log. Other processes may have written to the same log."""
        return self.log.read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _reach(self, number: int) -> bool:
        """Signal the group. Never signal a group that was seen empty: another one may have its number."""
        if self._group_is_gone:
            return False
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
            if self._popen.returncode is not None:
                self._group_is_gone = True
                _REAPER.send(f"drop {self.pid}")
            return False
        return True


def stop_all(processes: Iterable[Process], grace: float) -> list[Process]:
    """Stop processes at the same time. Return those that needed more than `grace` seconds and were killed.

    An exception such as Ctrl-C kills the processes that are left.
    """
    running = [process for process in processes if process.alive]
    deadline = time.monotonic() + grace
    try:
        for process in running:
            process.terminate()
        while (late := [process for process in running if process.alive]) and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        for process in running:
            process.kill()
    return late


def end_group_with_parent(group: int) -> None:
    """Register a process group at the reaper, which ends it if we die."""
    _REAPER.send(f"add {group}")


@contextmanager
def ended_with_parent(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Register a child that stays in our process group, at our terminal."""
    _REAPER.send(f"watch {child.pid}")
    try:
        yield
    finally:
        _REAPER.send(f"unwatch {child.pid}")


def free_port() -> int:
    """Return a free port on 127.0.0.1.

    It lies below the ephemeral range (from 32768 on Linux, 49152 on macOS). A client that keeps connecting to
    a dead server can get the server's own port as an ephemeral one, and the server cannot start again.
    """
    while True:
        port = 20_000 + secrets.randbelow(10_000)  # not `random`: tests seed it
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def wait_for(
    condition: Callable[[], T | None], *, seconds: float, what: str, unless_dead: Process | None = None
) -> T:
    """Return the first true value of `condition`. Raises RuntimeError if the process `unless_dead` ends."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if unless_dead and not unless_dead.alive:
            status = unless_dead.wait(0)
            end = unless_dead.output()[-2000:]
            raise RuntimeError(
                f"{what}: its process ended with status {status}; {unless_dead.log} ends:\n{end}"
            )
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)
    return value
