"""Fixtures of all tests: a stream for each test, signals without receivers, and both databases."""

import logging
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import hypothesis
import pytest
from django.conf import settings as django_settings
from django.contrib.contenttypes.management import create_contenttypes
from django.db.models.signals import post_migrate
from django.test import override_settings
from pytest_django import Settings

from devstack import distributions
from events_app import signals
from events_app.shared import engine, redis, wakeup
from events_app.shared.log import floods
from tests.support import database_cleanup, examples
from tests.support.databases import Router

# A project on its own settings: `tests/flows/test_host_project.py` runs its tests.
collect_ignore = ["host_project"]

AnySignal = TypeVar("AnySignal", bound=signals.ReceiverSignal)


def pytest_configure(config: pytest.Config) -> None:
    for name in ("TEST_REDIS_URL", "TEST_DATABASE_URL"):
        if not os.environ.get(name):
            raise pytest.UsageError(f"{name} is not set. Run ./dev test, which starts servers and sets it.")
    names_database = urlsplit(os.environ["TEST_REDIS_URL"]).path.strip("/")
    if names_database and (config.getoption("numprocesses", None) or 0) > 1:
        raise pytest.UsageError(
            "TEST_REDIS_URL names one database, and processes of their own would share it. "
            "Add --numprocesses 0, or leave the number out to give the tests the whole server."
        )
    # The profiles have no deadline: a slow machine fails no test. `examples` reads their names.
    hypothesis.settings.register_profile(examples.ALL, deadline=None)
    hypothesis.settings.register_profile(examples.FEW, deadline=None)
    hypothesis.settings.load_profile(config.getoption("hypothesis_profile") or examples.ALL)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the flows, which mostly wait: each process has as many, and the others work meanwhile.

    Before pytest's own look at `-m`: a flow is slow unless it is marked as quick.
    """
    flows = [item for item in items if item.path.parent.name == "flows"]
    for flow in flows:
        if not flow.get_closest_marker("quick"):
            flow.add_marker("slow")
    # Those of minutes first: at the end nothing would run beside them.
    flows.sort(key=lambda flow: flow.get_closest_marker("timeout") is None)
    others = [item for item in items if item.path.parent.name != "flows"]
    each = len(others) // (len(flows) or 1)
    items[:] = []
    for number, flow in enumerate(flows):
        items += [flow, *others[number * each : (number + 1) * each]]
    items += others[len(flows) * each :]


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> None:
    """Who needs permissions makes them: to make all of them anew after each test takes longer than most."""
    post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
    post_migrate.disconnect(create_contenttypes)
    database_cleanup.install()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist of this checkout."""
    return distributions.build(tmp_path_factory.mktemp("dist"))


def _flood_limits() -> Iterator[floods.FloodLimit]:
    """All limits of log lines in this process, on loggers and on the handlers of the settings."""
    yield from floods.on_loggers.values()
    for handler in logging.root.handlers + logging.getLogger("django").handlers:
        yield from (limit for limit in handler.filters if isinstance(limit, floods.FloodLimit))


@pytest.fixture(autouse=True)
def stream(settings: Settings) -> Iterator[str]:
    """A stream of the test's own."""
    name = f"test-{uuid.uuid4()}"
    settings.ANYMAIL = {**django_settings.ANYMAIL, "EVENT_STREAM": name}
    # Now: the test may leave the settings pointing elsewhere. A class of tests may already be eager.
    with override_settings(ANYMAIL={**settings.ANYMAIL, "EAGER_IN_TESTS": False}):
        server = redis.for_workers()
    keys = [
        redis.key(beside)
        for beside in ("", "wakeup", "waiting", "tick", "counters", "inbound_prune", "workers")
    ]
    # Before the test: what a test has patched is put back only after its own fixtures have ended.
    redis._open_until = wakeup._paused_until = wakeup._redis_paused_until = 0.0
    engine._not_before.clear()
    for limit in _flood_limits():
        limit.forget()
    yield name
    queues = ("events", "retries", "recovery", "inbound", "mail", "bulk")
    server.delete(*keys, *(f"sendgrid.{queue}" for queue in queues))


@pytest.fixture
def anymail(settings: Settings) -> Callable[..., None]:
    """Changes settings in the `ANYMAIL` dict for the rest of the test."""

    def change(**changed: object) -> None:
        settings.ANYMAIL = {**settings.ANYMAIL, **changed}

    return change


@pytest.fixture(autouse=True)
def tracking() -> Iterator[signals.ReceiverSignal]:
    """The signal with no receivers but those the test connects."""
    yield from _bare(signals.tracking)


@pytest.fixture(autouse=True)
def inbound() -> Iterator[signals.InboundSignal]:
    """As `tracking`."""
    yield from _bare(signals.inbound)


def _bare(signal: AnySignal) -> Iterator[AnySignal]:
    connected, signal.receivers = signal.receivers, []
    yield signal
    signal.receivers = connected


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The alias of the database that keeps the events; the test runs once with each.

    Use with `pytest.mark.django_db(databases=["default", "postgres"], transaction=True)`.
    """
    Router.events = "default" if request.param == "sqlite" else request.param
    yield Router.events
    Router.events = "default"
