"""A real process that can be stopped, killed and frozen whole, and that never outlives us.

Each one leads a session of its own, so a signal to its group reaches its children too and nobody else,
and each is known to a reaper (see `devstack.reaper`), which ends it should we be killed.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, Self, TypeVar

from devstack import reaper

T = TypeVar("T")

# The child itself tells the reaper, through the stdin it is born with, before it becomes the program:
# were it the parent that told, there would be a moment in which to be killed between start and telling.
# And its first stdout is closed by the same stroke that lets go of the reaper's pipe.
LAUNCH = ("/bin/sh", "-c", 'echo "add $$" >&0; exec "$0" "$@" </dev/null >&2')


class Reaper:
    """The one of this process, started with its first child."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._popen: subprocess.Popen[bytes] | None = None

    def pipe(self) -> int:
        with self._starting:
            if self._popen is None or self._popen.poll() is not None:
                # By its path and isolated: whatever the caller's folder or PYTHONPATH holds, it starts.
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

    def tell(self, line: str) -> None:
        # A reaper that somebody has killed must not keep us from stopping the rest.
        with suppress(BrokenPipeError):
            # One write of a short line: the pipe keeps it whole between those of the children.
            os.write(self.pipe(), f"{line}\n".encode())

    def end_the_rest(self) -> None:
        if self._popen and self._popen.stdin:
            self._popen.stdin.close()
            self._popen.wait()

    def forget(self) -> None:
        """In a fork of ours, which holds our end of the pipe as well and would hide our death."""
        if self._popen and self._popen.stdin:
            self._popen.stdin.close()
        self._starting = threading.Lock()
        self._popen = None


_REAPER = Reaper()
atexit.register(_REAPER.end_the_rest)
os.register_at_fork(after_in_child=_REAPER.forget)


class Child(Protocol):
    """What `Process` needs of a child: a `subprocess.Popen`, or the like."""

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
        if shutil.which(args[0]) is None:  # else only the shell's words in the log would tell
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
        # Frozen before it has let go of the reaper's pipe, it would hide our death.
        assert child.stdout
        with child.stdout as first:
            first.read()
        self._popen = child

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Of the main process; its children may live longer."""
        running = self._popen.poll() is None
        if not running:
            self._reach(0)
        return running

    def stop(self, grace: float = 15, *, by: signal.Signals = signal.SIGTERM) -> None:
        """Ask the main process to leave, then make sure of the whole group."""
        if self.alive:
            self._popen.send_signal(by)
            self.thaw()  # a frozen process does not hear
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(grace)
        self.kill()

    def kill(self) -> None:
        self._reach(signal.SIGKILL)
        self._popen.wait()
        # Who leaves its port to a successor must be gone, not dying.
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
        """What it has written, and what others wrote to the same log."""
        return self.log.read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _reach(self, number: int) -> bool:
        """Signal the group. Once it is seen empty, its number may become a stranger's: never again."""
        if self._group_is_gone:
            return False
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
            if self._popen.returncode is not None:
                self._group_is_gone = True
                _REAPER.tell(f"drop {self.pid}")
            return False
        return True


def end_group_with_parent(group: int) -> None:
    """Have a group of processes ended with us."""
    _REAPER.tell(f"add {group}")


@contextmanager
def ended_with_parent(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """For a child that stays in our own group, at our terminal."""
    _REAPER.tell(f"watch {child.pid}")
    try:
        yield
    finally:
        _REAPER.tell(f"unwatch {child.pid}")


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on.

    Below the range from which the kernel serves outgoing connections (32768 on Linux, 49152 on macOS): a
    client that keeps dialling a dead server from that range can be given the server's own port, and the
    server cannot come back.
    """
    while True:
        port = 20_000 + secrets.randbelow(10_000)  # not `random`: tests seed it, each run alike
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def wait_for(
    condition: Callable[[], T | None], *, seconds: float, what: str, unless_dead: Process | None = None
) -> T:
    """The first true value of the condition; what it raises is raised."""
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
