"""Each test starts without wake-ups and results of other tests."""

from collections.abc import Callable, Iterator

import pytest

from events_app.dispatch import results
from events_app.shared import redis, wakeup
from events_app.shared.deadline import Threads
from tests.support import brokers


@pytest.fixture(autouse=True)
def nothing_left(stream: str) -> Iterator[None]:
    """Leave no time of a tick, and no unwritten result, to the next test."""
    # Asked for now: the test may leave the settings pointing elsewhere.
    server = redis.for_workers()
    keys = [redis.key(beside) for beside in ("beat", "late", "prune", "inbound_prune")]
    yield
    server.delete(*keys)
    results.unwritten.writes.clear()


@pytest.fixture
def broker_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wake-ups find no broker."""
    _use_broker(monkeypatch, brokers.UNREACHABLE)


@pytest.fixture
def silent_broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[brokers.SilentBroker]:
    """Wake-ups get no answer, and their transport waits for one without a limit."""
    with brokers.silent_broker() as broker:
        _use_broker(monkeypatch, broker.url)
        yield broker


@pytest.fixture
def use_broker(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sends wake-ups to the broker under a URL."""
    return lambda url: _use_broker(monkeypatch, url)


def _use_broker(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("CELERY_BROKER_WRITE_URL", url)
    # New threads, for those there are have a connection to the other broker.
    monkeypatch.setattr(wakeup, "_publishers", Threads("wake-up", wakeup._MOST_STUCK))
