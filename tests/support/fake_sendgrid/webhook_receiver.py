"""A webhook that answers posts as a test says, and remembers them."""

import json
import threading
from collections import Counter
from typing import Any, Self

from fake_sendgrid import http_server

#: Seconds.
PATIENCE = 30


class WebhookReceiver:
    """Answers each post with the next of `statuses`, and remembers the posts."""

    def __init__(self) -> None:
        self.requests: list[http_server.Request] = []
        self.taken: list[http_server.Request] = []
        #: Statuses of the next answers; None hangs up. Then 200.
        self.statuses: list[int | None] = []
        self.came = threading.Event()
        self._door = http_server.HttpServer(self._respond)
        self._door.open()
        self.url = f"http://127.0.0.1:{self._door.port}/events"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._door.close()

    def _respond(self, request: http_server.Request) -> http_server.Response | None:
        self.requests.append(request)
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.taken.append(request)
        self.came.set()
        return http_server.Response(status, {}, b"") if status else None

    @property
    def posts(self) -> list[list[dict[str, Any]]]:
        return [json.loads(request.body) for request in self.taken]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for post in self.posts for event in post]

    @property
    def names(self) -> Counter[str]:
        return Counter(event["event"] for event in self.events)
