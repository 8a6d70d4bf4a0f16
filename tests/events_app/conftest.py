"""What one test of these leaves for a later task, no other test finds."""

from collections.abc import Iterator

import pytest

from events_app import redis, tasks, verdicts


@pytest.fixture(autouse=True)
def nothing_left(stream: str) -> Iterator[None]:
    """No bell for a retry, and no verdict that waits for its database, is handed on."""
    # Asked for now: the test may leave the settings pointing elsewhere.
    server = redis.worker()
    keys = [redis.key(beside) for beside in ("beat", "late", "prune", "inbound_prune")]
    yield
    server.delete(*keys, tasks.RETRIES)
    verdicts._unwritten.clear()
