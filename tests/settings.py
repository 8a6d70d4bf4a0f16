"""The deployment's settings on the servers that `./dev test` names, with two databases at once."""

import os
from tempfile import gettempdir
from urllib.parse import urlsplit

import environ
from django.conf import global_settings

os.environ.setdefault("DJANGO_SECRET_KEY", "for tests")

from project.settings import *  # noqa: F403
from project.settings import DATABASES, INSTALLED_APPS

_env = environ.Env()

# `./dev test` sets both; the type checker imports this without them and connects to nothing.
REDIS_URL = _env.str("TEST_REDIS_URL", default="redis://127.0.0.1:1/0")
if not urlsplit(REDIS_URL).path.strip("/"):
    # A whole server: each of pytest's processes has a database of its own in there.
    _number = _env.str("PYTEST_XDIST_WORKER", default="gw0").removeprefix("gw")
    REDIS_URL = urlsplit(REDIS_URL)._replace(path=f"/{_number}").geturl()
CELERY_BROKER_URL = REDIS_URL
_folder = _env.str("TEST_FOLDER", default=gettempdir())
POSTGRES_URL = _env.str("TEST_DATABASE_URL", default="postgres://127.0.0.1:1/none")

DATABASES = {
    "default": {
        **DATABASES["default"],
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": f"{_folder}/unused.sqlite3",
        "OPTIONS": {
            **DATABASES["default"]["OPTIONS"],
            # No test takes the machine's power away.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
        },
        # A file: the tests' threads each open it for themselves.
        "TEST": {"NAME": f"{_folder}/pipeline-test-{os.getpid()}.sqlite3"},
    },
    "postgres": _env.db_url_config(POSTGRES_URL),
}
DATABASES["replica"] = {**DATABASES["default"], "TEST": {}}  # in memory
DATABASE_ROUTERS = ["tests.support.databases.Router"]
INSTALLED_APPS = [*INSTALLED_APPS, "example_app"]

STORAGES = {
    **global_settings.STORAGES,
    "sendgrid_inbound": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": f"{_folder}/inbound-{os.getpid()}"},
    },
}

ANYMAIL = {
    "EVENT_REDIS_URL": REDIS_URL,
    "EAGER_IN_TESTS": False,
    "WEBHOOK_SECRET": "sendgrid:a-secret-for-tests-only",
    # Tests of retention set days. In all others no old row goes.
    "EVENT_RETENTION_DAYS": 0,
    "OUTBOX_RETENTION_DAYS": 0,
}
