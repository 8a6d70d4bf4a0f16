"""A faster end of a test that commits: delete the rows, keep the connections.

Django's own `flush` truncates every table, which costs PostgreSQL new files for each table and index, and
closes every connection after the test.
"""

from functools import cache

import psycopg
from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db import connections, transaction
from django.test import TransactionTestCase
from psycopg.pq import TransactionStatus

from tests.support.databases import REPLICA


def install() -> None:
    """Replace the teardown of `TransactionTestCase` for the rest of the process."""
    TransactionTestCase._fixture_teardown = _delete_all_rows  # type: ignore[attr-defined]
    TransactionTestCase._should_reload_connections = _some_connection_is_unusable  # type: ignore[attr-defined]


def _delete_all_rows(case: TransactionTestCase) -> None:
    ContentType.objects.clear_cache()  # the cached rows are removed too
    for alias in set(case._databases_names()) - {REPLICA}:  # type: ignore[attr-defined]
        connection = connections[alias]
        if connection.vendor == "postgresql" and _is_busy(connection.connection):
            connection.connection.close()
            connection.connect()  # forgets the transaction of the old connection
        # Django's foreign keys are checked at the commit, so the order of the tables does not matter.
        with transaction.atomic(using=alias), connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("; ".join(_statements()))
            else:
                for statement in _statements():
                    cursor.execute(statement)


def _is_busy(connection: "psycopg.Connection | None") -> bool:
    """Whether a test, interrupted by its timeout, left a statement or a transaction open."""
    return connection is not None and connection.info.transaction_status != TransactionStatus.IDLE


def _some_connection_is_unusable(case: TransactionTestCase) -> bool:
    opened = [connection for connection in connections.all() if connection.connection is not None]
    return not all(connection.is_usable() for connection in opened)


@cache
def _statements() -> list[str]:
    models = apps.get_models(include_auto_created=True)
    tables = {model._meta.db_table for model in models if model._meta.managed}
    return [f'DELETE FROM "{table}"' for table in sorted(tables)]
