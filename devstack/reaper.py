"""Ends the children of a process that dies, even if SIGKILL ended it.

No process can clean up after its own SIGKILL. Linux's parent-death signal does not reach grandchildren, and
macOS has none. But every kernel closes the pipes of a dead process. So this small process reads a pipe that
only the parent holds, records the parent's children, and ends them when the pipe closes.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

PATIENCE = 5.0  # seconds between SIGTERM and SIGKILL


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end_targets(read_targets(sys.stdin))


def read_targets(lines: Iterable[str]) -> set[int]:
    """Return the targets that no later line removed, as numbers for kill(2): groups are negative.

    "add 7" and "drop 7" mean the process group 7, "watch 7" and "unwatch 7" the process 7.
    """
    targets: set[int] = set()
    for line in lines:
        verb, number = line.split()
        target = int(number) if verb.endswith("watch") else -int(number)
        if verb in ("drop", "unwatch"):
            targets.discard(target)
        elif abs(target) > 1:  # for kill(2), -1 means every process
            targets.add(target)
    return targets


def end_targets(targets: set[int]) -> None:
    for target in targets:
        send_signal(target, signal.SIGCONT)  # a frozen process handles no signal
        send_signal(target, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while any(is_alive(target) for target in targets) and time.monotonic() < deadline:
        time.sleep(0.02)
    for target in targets:
        send_signal(target, signal.SIGKILL)


def is_alive(target: int) -> bool:
    """Whether a process other than a zombie is left. PID 1 may never reap the zombie of an orphan."""
    if not send_signal(target, 0):
        return False
    if not Path("/proc/self/stat").exists():  # macOS, where a group of zombies cannot be reached
        return True
    return any(belongs(stat, target) for stat in Path("/proc").glob("[0-9]*/stat"))


def belongs(stat: Path, target: int) -> bool:
    try:
        pid, _, rest = stat.read_text(errors="replace").partition(" ")
    except OSError:  # gone since it was listed
        return False
    state, _parent, group = rest.rpartition(")")[2].split()[:3]
    return state not in "ZX" and (int(pid) == target or int(group) == -target)


def send_signal(target: int, number: int) -> bool:
    try:
        os.kill(target, number)
    except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
        return False
    return True


if __name__ == "__main__":
    main()
