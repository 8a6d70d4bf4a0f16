"""Brokers that fail: one where nobody listens, one that accepts connections and never answers."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, virtual

from events_app.shared import redis

#: Nobody listens on this port.
UNREACHABLE = "redis://127.0.0.1:1/0"


class Channel(virtual.Channel):
    def _put(self, *_: Any, **__: Any) -> None:
        client: Any = self.connection.client
        with socket.create_connection((client.hostname, client.port)) as connection:
            connection.recv(1)
            raise ConnectionError

    def _size(self, queue: str) -> int:
        return 0


class Transport(virtual.Transport):
    Channel = Channel


class SilentBroker:
    def __init__(self, server: socket.socket) -> None:
        self.url = f"silent://127.0.0.1:{server.getsockname()[1]}/"
        self.connections: list[socket.socket] = []
        self._server = server

    def take(self) -> None:
        while True:
            try:
                self.connections.append(self._server.accept()[0])
            except OSError:
                return

    def hang_up(self) -> None:
        while self.connections:
            self.connections.pop().close()


@contextmanager
def silent_broker() -> Iterator[SilentBroker]:
    TRANSPORT_ALIASES["silent"] = f"{__name__}:Transport"
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = SilentBroker(server)
        taking = threading.Thread(target=silent.take)
        taking.start()
        try:
            yield silent
        finally:
            server.shutdown(socket.SHUT_RDWR)
            taking.join()
            silent.hang_up()
            del TRANSPORT_ALIASES["silent"]


def queued_tasks() -> set[str]:
    """Names of the tasks whose messages wait in the queues of events."""
    queues = ("sendgrid.events", "sendgrid.retries", "sendgrid.recovery", "sendgrid.inbound")
    messages = [message for queue in queues for message in redis.for_workers().lrange(queue, 0, -1)]
    return {json.loads(message)["headers"]["task"] for message in messages}
