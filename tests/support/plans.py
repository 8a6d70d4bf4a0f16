"""The plans of queries, so that a test shows which index serves a query."""

import re
from typing import Any

from django.db import connections
from django.db.models import QuerySet


def plan(rows: "QuerySet[Any]") -> str:
    """The plan of the query, as a large table would have it."""
    connection = connections[rows.db]
    if connection.vendor == "sqlite":
        return rows.explain()
    with connection.cursor() as cursor:
        # Of a table of one page everything is read, whatever there is besides.
        cursor.execute("SET enable_seqscan = off")
        try:
            return rows.explain()
        finally:
            cursor.execute("RESET enable_seqscan")


def scans(rows: "QuerySet[Any]") -> bool:
    """Whether the query reads a whole table."""
    # SQLite also calls a walk over an index a scan, and names the index.
    return bool(re.search(r"Seq Scan|SCAN \w+$", plan(rows), re.MULTILINE))
