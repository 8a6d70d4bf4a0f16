"""The files that an event, a mail and an inbound mail cross, seen by a profiler."""

import pytest

from devstack import crossed_files


@pytest.mark.slow
def test_each_way_is_seen_from_end_to_end() -> None:
    ways = crossed_files.crossed()
    assert list(ways) == ["an event", "a mail", "an inbound mail"]
    for name in ("an event", "an inbound mail"):
        assert set(ways[name][:2]) == {"events_app/middleware.py", "events_app/monitoring/middleware.py"}
        assert "events_app/tasks.py" in ways[name]
    assert "events_app/stream.py" in ways["an event"]
    assert ways["a mail"][0] == "sending_app/backends/queued.py"
    assert "sending_app/tasks.py" in ways["a mail"]
    assert all(len(set(files)) == len(files) for files in ways.values())
