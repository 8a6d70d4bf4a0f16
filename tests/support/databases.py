"""The database a test runs on, and its failures."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, Literal
from unittest import mock

import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

#: A database without tables. Django refuses a test every query to a database that the test does not name.
REPLICA = "replica"


class Router:
    """Puts the events and the outbox into the database under test, and sends reads to a replica.

    The replica answers no query. So a test of any code fails where the code reads a row elsewhere than in the
    database to which it writes.
    """

    events = "default"

    def db_for_write(self, model: Any, **_: Any) -> str | None:
        return self.events if self._is_ours(model) else None

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return REPLICA if self._is_ours(model) else None

    def allow_migrate(self, db: str, *_: Any, **__: Any) -> bool:
        return db != REPLICA

    def _is_ours(self, model: Any) -> bool:
        return model._meta.app_label in ("events_app", "sending_app")

    def allow_relation(self, *_: Any, **__: Any) -> bool:
        return True


class OnPostgres:
    """A mixin for classes of tests that keep events and outbox in PostgreSQL. Put it before their base."""

    databases: set[str] | Literal["__all__"] = {"default", "postgres"}  # noqa: RUF012 (as Django's)

    @classmethod
    def setUpClass(cls) -> None:
        Router.events = "postgres"
        super().setUpClass()  # type: ignore[misc] # of the test's base

    @classmethod
    def tearDownClass(cls) -> None:
        super().tearDownClass()  # type: ignore[misc]
        Router.events = "default"


def plans_without_primary_key(database: str, table: str, run: Callable[[], object]) -> str:
    """How PostgreSQL would change and count rows of the table as `run` does, if these had no primary key.

    So the plans name each other index that the statements can use.
    """
    with CaptureQueriesContext(connections[database]) as queries:
        run()
    statement = re.compile(rf"(WITH|UPDATE|DELETE|SELECT COUNT)\b.*\b{table}\b", re.DOTALL)
    found = [query["sql"] for query in queries if statement.match(query["sql"].lstrip())]
    assert found
    plans = []
    with transaction.atomic(using=database), connections[database].cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey CASCADE")
        cursor.execute("SET LOCAL enable_seqscan = off")
        for sql in found:
            cursor.execute(f"EXPLAIN {sql}")
            plans += [line for (line,) in cursor.fetchall()]
        transaction.set_rollback(True, using=database)
    return "\n".join(plans)


@contextmanager
def database_away(database: str) -> Iterator[None]:
    """The database cannot be reached: nothing listens on its port, or its folder does not exist."""
    connection = connections[database]
    connection.close()
    lost = {"NAME": "/nowhere/db.sqlite3"} if connection.vendor == "sqlite" else {"PORT": 1}
    with mock.patch.dict(connection.settings_dict, lost):
        yield
    connection.close()


def terminate_connection(database: str) -> None:
    """Have PostgreSQL end our connection, which the client has yet to notice."""
    connections[database].ensure_connection()
    pid = connections[database].connection.info.backend_pid
    with closing(connections.create_connection(database)) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 30000)", [pid])


on_postgresql = pytest.mark.parametrize("database", ["postgres"], indirect=True)


@contextmanager
def updates_fail(database: str, error: Exception, table: str = "sending_app_mail") -> Iterator[None]:
    """Every UPDATE of the table raises `error`."""

    def execute(call: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if "UPDATE" in sql and table in sql and "FOR UPDATE" not in sql:
            raise error
        return call(sql, params, many, context)

    with connections[database].execute_wrapper(execute):
        yield
