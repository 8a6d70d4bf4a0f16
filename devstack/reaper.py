"""Children die with their parent, even with one that was killed by SIGKILL.

Nobody can clean up after their own SIGKILL, and Linux's death signal reaches neither grandchildren nor
macOS. But the kernel closes the pipes of the dead everywhere. So this small process reads one that only
the parent holds, notes what the parent has started, and at the end of the pipe stops what is left.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

PATIENCE = 5.0  # seconds between asking and killing


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end_targets(read_targets(sys.stdin))


def read_targets(lines: Iterable[str]) -> set[int]:
    """What was not taken back by the last line: numbers as kill(2) has them, groups below zero.

    "add 7" and "drop 7" are about the process group 7, "watch 7" and "unwatch 7" about one process.
    """
    targets: set[int] = set()
    for line in lines:
        verb, number = line.split()
        target = int(number) if verb.endswith("watch") else -int(number)
        if verb in ("drop", "unwatch"):
            targets.discard(target)
        elif abs(target) > 1:  # to kill(2), -1 is everybody
            targets.add(target)
    return targets


def end_targets(targets: set[int]) -> None:
    for target in targets:
        send_signal(target, signal.SIGCONT)  # the frozen do not hear
        send_signal(target, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while any(is_alive(target) for target in targets) and time.monotonic() < deadline:
        time.sleep(0.02)
    for target in targets:
        send_signal(target, signal.SIGKILL)


def is_alive(target: int) -> bool:
    """Whether more is left than zombies: an orphan's stays until PID 1 cares, which may be never."""
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
