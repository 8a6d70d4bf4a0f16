"""A deployment a test, started and ended with it."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ground.valkey import Valkey
from tests.flows.deployment import Deployment, postgres_database


@pytest.fixture(params=["sqlite", "postgres"])
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    """Nothing of it runs yet but its Valkey; the test runs once with each database."""
    with ExitStack() as stack:
        valkey = stack.enter_context(Valkey(tmp_path / "valkey"))
        if request.param == "postgres":
            url = stack.enter_context(postgres_database(os.environ["TEST_DATABASE_URL"]))
        else:
            url = f"sqlite:///{tmp_path}/db.sqlite3"
        found = Deployment(tmp_path, valkey, url)
        stack.callback(found.stop)
        yield found
