"""Fresh databases for flows: SQLite or PostgreSQL, one for each test."""

import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

on_sqlite = pytest.mark.parametrize("servers", ["sqlite"], indirect=True)
on_postgres = pytest.mark.parametrize("servers", ["postgres"], indirect=True)


def is_postgres(database_url: str) -> bool:
    return database_url.startswith("postgres")


@contextmanager
def connect(database_url: str) -> Iterator[Any]:
    """A connection to either kind of database; what is done with it is committed at the end."""
    if is_postgres(database_url):
        with psycopg.connect(database_url) as connection:
            yield connection
    else:
        path = database_url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, timeout=20)) as file, file:
            yield file


@contextmanager
def postgres_database(server: str, *, create: bool = True) -> Iterator[str]:
    """The URL of a fresh database on `server`, dropped afterwards.

    Without `create`, a template makes it: to make an empty one first takes a second.
    """
    name = f"flow_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        if create:
            connection.execute(f"CREATE DATABASE {name}")
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


class DatabaseTemplate:
    """A database that is migrated once, and copied for each test: migrating takes seconds."""

    def __init__(self, folder: Path, server: str) -> None:
        self._folder = folder
        self._server = server
        self._made: dict[bool, str] = {}

    def fill(self, database_url: str, migrate: Callable[[str], object]) -> None:
        """Make the database, as `migrate` leaves an empty one."""
        postgres = is_postgres(database_url)
        if postgres not in self._made:
            self._made[postgres] = self._make(postgres)
            migrate(self._made[postgres])
        if postgres:
            self._create(name_of(database_url), template=name_of(self._made[postgres]))
        else:
            shutil.copyfile(*(url.removeprefix("sqlite:///") for url in (self._made[postgres], database_url)))

    def drop(self) -> None:
        if True in self._made:
            with psycopg.connect(self._server, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name_of(self._made[True])} WITH (FORCE)")

    def _make(self, postgres: bool) -> str:
        name = f"template_{uuid.uuid4().hex}"
        if not postgres:
            return f"sqlite:///{self._folder}/{name}.sqlite3"
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return urlsplit(self._server)._replace(path=f"/{name}").geturl()

    def _create(self, name: str, *, template: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")


def name_of(database_url: str) -> str:
    return urlsplit(database_url).path.removeprefix("/")
