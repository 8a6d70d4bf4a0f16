"""`python -m devstack COMMAND [arguments]`: runs a command. `./dev` makes the environment and calls it."""

import signal
import sys
from importlib import import_module
from types import FrameType

# Imported on demand, so that a command imports no other command.
COMMANDS = {
    "demo": "devstack.demo",
    "up": "devstack.up",
    "test": "devstack.test",
    "check": "devstack.check",
    "seed": "devstack.seed.command",
    "settings": "devstack.settings_tables",
    "screenshots": "devstack.screenshots",
    "bench": "benchmarks.run",
    "chaos": "devstack.chaos",
    "docs": "devstack.docs",
    "package": "devstack.package",
    "release": "devstack.release",
    "audit": "devstack.audit",
    "figures": "devstack.figures",
}


def main(argv: list[str]) -> int:
    if not argv or argv[0] not in COMMANDS:
        print(f"usage: ./dev {'|'.join(COMMANDS)} [arguments]", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # keep nohup's SIG_IGN
            signal.signal(number, exit_cleanly)
    try:
        status: int = import_module(COMMANDS[argv[0]]).main(argv[1:])
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the reaper may still end processes
        return 130
    return status


def exit_cleanly(number: int, _frame: FrameType | None) -> None:
    """Exit through the `finally` blocks. A second signal must not interrupt them."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
