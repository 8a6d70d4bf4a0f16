"""Figures of the demo, as its database has them, beside what they must be."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing


def count_rows(env: Mapping[str, str], tables: Mapping[str, str]) -> dict[str, int]:
    """How many rows there are under each name: of a table, or of a table and a WHERE."""
    selects = ", ".join(f"(SELECT count(*) FROM {where})" for where in tables.values())
    with closing(sqlite3.connect(env["DATABASE_URL"].removeprefix("sqlite:///"))) as database:
        row = database.execute(f"SELECT {selects}").fetchone()
    return dict(zip(tables, row, strict=True))


def print_comparison(*rows: tuple[str, int, int]) -> bool:
    """Print what was counted and what was expected; whether all of it agrees."""
    print(f"\n  {'what happened':<34}{'count':>7}{'expected':>10}")
    for what, found, expected in rows:
        print(f"  {what:<34}{found:>7}{expected:>10}  {'ok' if found == expected else 'WRONG'}")
    print(flush=True)
    return all(found == expected for _, found, expected in rows)
