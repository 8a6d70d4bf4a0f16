"""`./dev seed`: fills the empty database of a deployment with a million events.

The settings are those of `project.settings`, from the environment, as for `manage.py`.
"""

import argparse
import os
import sys
from datetime import UTC, datetime

import django


def main(argv: list[str]) -> int:
    options = _options(argv)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    if options.database:
        os.environ["DATABASE_URL"] = options.database
    if not os.environ.get("DATABASE_URL"):
        print("seed: name the database by --database or DATABASE_URL.", file=sys.stderr)
        return 2
    django.setup()
    from devstack.seed.fill import NotEmpty, fill  # noqa: PLC0415 (the apps must be ready)

    now = datetime.now(UTC).replace(microsecond=0)
    try:
        figures = fill(events=options.events, mails=options.mails, seed=options.seed, now=now, report=_print)
    except NotEmpty as error:
        print(f"seed: {error}", file=sys.stderr)
        return 1
    for name, number in figures.rows.items():
        _print(f"{number:>12,} {name}")
    _print(f"{figures.seconds:>12.1f} seconds")
    return 0


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev seed", description="Fill an empty, migrated database.")
    parser.add_argument("--database", metavar="URL", help="its URL; default: DATABASE_URL")
    parser.add_argument("--events", type=int, default=1_000_000, help="about so many events")
    parser.add_argument("--mails", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same rows")
    return parser.parse_args(argv)


def _print(text: str) -> None:
    print(text, flush=True)
