"""After an erasure the files of Valkey have no trace of a person."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from devstack.process import wait_for
from devstack.valkey import Valkey
from events_app import stream
from events_app.shared import redis
from events_app.shared.personal_data.person import Person
from tests.support.commands import output_of
from tests.support.personal_data import codings

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

ANN = Person("ann@example.com")


def files_with(person: Person, folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and person.is_in(path.read_bytes())]


@pytest.mark.quick
def test_the_append_only_file_is_written_anew(
    database: str, tmp_path: Path, anymail: Callable[..., None]
) -> None:
    with Valkey(tmp_path / "valkey") as valkey:
        anymail(EVENT_REDIS_URL=valkey.url(0), PERSONAL_DATA_KEY="0123456789abcdef" * 4)
        event = {"event": "open", "email": "ann@example.com", **codings("ann@example.com")}
        stream.append("tracking", [json.dumps(event).encode()])
        assert files_with(ANN, tmp_path)
        output = output_of("erase", "ann@example.com", "--yes")
        assert "Redis rewrites its append-only file now" in output

        def is_rewritten() -> bool:
            state = redis.for_workers().info("persistence")
            return not state["aof_rewrite_in_progress"] and not state["aof_rewrite_scheduled"]

        wait_for(is_rewritten, seconds=30, what="the append-only file is written anew")
        wait_for(lambda: not files_with(ANN, tmp_path), seconds=30, what="the old file is removed")
