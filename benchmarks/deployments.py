"""The two that are measured, each with a migrated database of its own in the benchmark's PostgreSQL."""

import os
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import psycopg
from psycopg.sql import SQL, Identifier

from fake_sendgrid.webhook import Sender
from ground.stack import Stack

S = TypeVar("S", bound=Stack)


class Rival(Stack):
    settings_module = "benchmarks.rival.settings"
    wsgi = "benchmarks.rival.wsgi:application"
    celery = "benchmarks.rival.celery"


class RivalMailer(Stack):
    settings_module = "benchmarks.rival_mail.settings"
    celery = "benchmarks.rival_mail.app"


def folder() -> Path:
    return Path(os.environ["BENCH_FOLDER"])


def sender() -> Sender:
    """The SendGrid whose signature both check."""
    return Sender.kept_in(folder() / "webhook.pem")


def ours(row: str, **settings: str) -> Stack:
    """`project` as it ships."""
    return _migrated(
        Stack(
            _folder(f"{row}_ours"),
            {
                **_common(f"{row}_ours"),
                "REDIS_URL": os.environ["BENCH_REDIS_URL"],
                "CELERY_BROKER_URL": os.environ["BENCH_BROKER_URL"],
                **settings,
            },
        )
    )


def rival(row: str, receiver: str, **settings: str) -> Rival:
    """The other one, with one of `rival.receivers`. Its broker is another database of the same Valkey."""
    return _migrated(
        Rival(
            _folder(f"{row}_rival"),
            {
                **_common(f"{row}_rival"),
                "CELERY_BROKER_URL": rival_broker_url(),
                "RIVAL_RECEIVER": receiver,
                **settings,
            },
        )
    )


def rival_mailer(row: str, **settings: str) -> RivalMailer:
    """The other one that sends mail, with its broker where the rival's always is."""
    return _migrated(
        RivalMailer(
            _folder(f"{row}_rival"),
            {**_common(f"{row}_rival"), "CELERY_BROKER_URL": rival_broker_url(), **settings},
        )
    )


def rival_broker_url() -> str:
    return urlsplit(os.environ["BENCH_BROKER_URL"])._replace(path="/2").geturl()


def _folder(name: str) -> Path:
    """For the logs."""
    path = folder() / name
    path.mkdir()
    return path


def _common(database: str) -> dict[str, str]:
    return {
        "DATABASE_URL": _create(database),
        "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY": sender().public_key,
    }


def _create(database: str) -> str:
    """The URL of a new, empty database."""
    url = urlsplit(os.environ["BENCH_DATABASE_URL"])
    with psycopg.connect(url._replace(scheme="postgresql").geturl(), autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(database)))
    return url._replace(path=f"/{database}").geturl()


def _migrated(stack: S) -> S:
    stack.manage("migrate", "--run-syncdb", "--verbosity", "0")
    return stack
