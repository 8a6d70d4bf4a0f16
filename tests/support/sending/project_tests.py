"""What the tests of a project meet: no server of ours, no API key, and settings that lead to closed ports."""

import socket
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from tests.support.brokers import UNREACHABLE
from workers.app import app

#: `ANYMAIL` of a project that sets nothing for tests.
ANYMAIL: dict[str, Any] = {
    "EVENT_REDIS_URL": UNREACHABLE,
    "SENDGRID_API_URL": "http://127.0.0.1:1/v3/",
    "SEND_DEFAULTS": {"tags": ["shop"], "track_clicks": True},
}


def broker_away() -> AbstractContextManager[Any]:
    return mock.patch.dict(app.conf, {"broker_url": UNREACHABLE})


def no_connections() -> AbstractContextManager[Any]:
    """Any connection of Python's fails the test. Not PostgreSQL's: libpq makes its own."""
    return mock.patch.object(socket.socket, "connect", side_effect=AssertionError("a connection"))
