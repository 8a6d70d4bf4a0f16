"""The measured deployments, ours and the rival's, each with its own migrated database."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import psycopg
from psycopg.errors import DuplicateDatabase
from psycopg.sql import SQL, Identifier

from devstack.stack import Stack
from fake_sendgrid.webhook_sender import WebhookSender

S = TypeVar("S", bound=Stack)

# SQLite options for the rival. `project` replaces them by its own.
_SQLITE = {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL"}

#: Suppressed addresses, none of which a benchmark writes to.
SUPPRESSED = 1_000_000

_SUPPRESS = """
INSERT INTO sending_app_suppression (address, scope, reason, active, since, decided_at, source, event_id)
SELECT 'gone.' || number || '@example.com', '', 'bounced', TRUE, now(), now(), 'event', ''
FROM generate_series(1, %s) AS number
"""


class Rival(Stack):
    settings_module = "benchmarks.rival.settings"
    wsgi = "benchmarks.rival.wsgi:application"
    celery = "benchmarks.rival.celery"


class RivalMailer(Stack):
    settings_module = "benchmarks.rival_mail.settings"
    celery = "benchmarks.rival_mail.app"


def folder() -> Path:
    """The folder of the running row."""
    return Path(os.environ["BENCH_FOLDER"])


def sender() -> WebhookSender:
    """The sender whose signatures both deployments verify."""
    return WebhookSender.from_key_file(folder() / "webhook.pem")


def ours(**settings: str) -> Stack:
    """`project` with its default settings."""
    urls = {"REDIS_URL": os.environ["BENCH_REDIS_URL"], "CELERY_BROKER_URL": os.environ["BENCH_BROKER_URL"]}
    return _made(Stack, "ours", **urls, **settings)


def suppressing(is_on: bool, **settings: str) -> Stack:
    """`project` with suppression and a million suppressed addresses, or without both. PostgreSQL alone.

    Each has databases of Valkey of its own.
    """
    first = 4 if is_on else 6
    urls = {
        "REDIS_URL": _database(os.environ["BENCH_REDIS_URL"], first),
        "CELERY_BROKER_URL": _database(os.environ["BENCH_BROKER_URL"], first + 1),
    }
    flags = {"SUPPRESSION": str(is_on).lower()}
    stack = _made(Stack, "suppressing" if is_on else "not_suppressing", **urls, **flags, **settings)
    if is_on:
        with psycopg.connect(stack.env["DATABASE_URL"], autocommit=True) as connection:
            connection.execute(_SUPPRESS, [SUPPRESSED])
            connection.execute("VACUUM ANALYZE sending_app_suppression")
    return stack


def rival(receiver: str) -> Rival:
    """The rival, with one of `rival.receivers`. Its broker is another database of the same Valkey."""
    return _made(Rival, "rival", CELERY_BROKER_URL=rival_broker_url(), RIVAL_RECEIVER=receiver)


def rival_mailer(**settings: str) -> RivalMailer:
    """The rival that sends mail."""
    return _made(RivalMailer, "rival", CELERY_BROKER_URL=rival_broker_url(), **settings)


def rival_broker_url() -> str:
    return _database(os.environ["BENCH_BROKER_URL"], 2)


def asking(stack: Stack) -> Callable[[str], int]:
    """Return a function that queries the deployment's database for one number, over one connection."""
    url = stack.env["DATABASE_URL"]
    connection: Any
    if url.startswith("sqlite:"):
        connection = sqlite3.connect(urlsplit(url).path.removeprefix("/"), isolation_level=None)
    else:
        connection = psycopg.connect(url, autocommit=True)

    def ask(query: str) -> int:
        (number,) = connection.execute(query).fetchone()
        return int(number)

    return ask


def _database(url: str, number: int) -> str:
    """The URL of another database of the same Valkey."""
    return urlsplit(url)._replace(path=f"/{number}").geturl()


def _made(kind: type[S], name: str, **settings: str) -> S:
    logs = folder() / name
    logs.mkdir()
    common = {
        "DATABASE_URL": _create(f"{folder().name}_{name}"),
        "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY": sender().public_key,
    }
    stack = kind(logs, {**common, **settings})
    stack.manage("migrate", "--run-syncdb", "--verbosity", "0")
    return stack


def _create(database: str) -> str:
    """Create an empty database, unless there is one, and return its URL."""
    url = urlsplit(os.environ["BENCH_DATABASE_URL"])
    if url.scheme == "sqlite":
        return f"sqlite:///{folder()}/{database}.sqlite3?{urlencode(_SQLITE)}"
    # `growth --keep` finds the database of an earlier run.
    with psycopg.connect(url.geturl(), autocommit=True) as connection, suppress(DuplicateDatabase):
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(database)))
    return url._replace(path=f"/{database}").geturl()
