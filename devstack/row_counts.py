"""Counts rows in the demo's database."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing


def count_rows(env: Mapping[str, str], tables: Mapping[str, str]) -> dict[str, int]:
    """Count the rows of each table. A value of `tables` is what follows FROM: a table, a join, a WHERE."""
    selects = ", ".join(f"(SELECT count(*) FROM {source})" for source in tables.values())
    with closing(sqlite3.connect(env["DATABASE_URL"].removeprefix("sqlite:///"))) as database:
        row = database.execute(f"SELECT {selects}").fetchone()
    return dict(zip(tables, row, strict=True))
