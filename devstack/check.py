"""`./dev check`: runs every check that needs no server. A failed check does not stop the next."""

import subprocess
import sys
from pathlib import Path

CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    ("lint-imports",),
    ("hadolint", "Dockerfile"),
)


def main(argv: list[str]) -> int:
    if argv:
        print("./dev check takes no arguments.", file=sys.stderr)
        return 2
    failed = [" ".join(check) for check in CHECKS if not passes(check)]
    print("\ncheck: " + (f"failed: {', '.join(failed)}" if failed else "clean"), flush=True)
    return 1 if failed else 0


def passes(check: tuple[str, ...]) -> bool:
    print(f"\n== {' '.join(check)}", flush=True)
    program = Path(sys.executable).with_name(check[0])  # from this environment, not from PATH
    return subprocess.run([program, *check[1:]], check=False).returncode == 0
