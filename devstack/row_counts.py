"""Counts rows in the demo's database and compares the counts with the expected ones."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing


def count_rows(env: Mapping[str, str], tables: Mapping[str, str]) -> dict[str, int]:
    """Count the rows of each table. A value of `tables` is what follows FROM: a table, a join, a WHERE."""
    selects = ", ".join(f"(SELECT count(*) FROM {source})" for source in tables.values())
    with closing(sqlite3.connect(env["DATABASE_URL"].removeprefix("sqlite:///"))) as database:
        row = database.execute(f"SELECT {selects}").fetchone()
    return dict(zip(tables, row, strict=True))


def print_comparison(*rows: tuple[str, int, int]) -> bool:
    """Print counted and expected numbers. Return whether all of them agree."""
    print(f"\n  {'what happened':<34}{'count':>7}{'expected':>10}")
    for name, counted, expected in rows:
        print(f"  {name:<34}{counted:>7}{expected:>10}  {'ok' if counted == expected else 'WRONG'}")
    print(flush=True)
    return all(counted == expected for _, counted, expected in rows)
