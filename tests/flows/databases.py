"""The databases of flows: one to itself for each test, of either kind."""

import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
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
def postgres_database(server: str) -> Iterator[str]:
    """The URL of a fresh database on `server`, dropped afterwards."""
    name = f"flow_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
