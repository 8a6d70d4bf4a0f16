"""A site with our webhooks, on a port of its own: each post is stored at once, as a worker would."""

from collections import Counter
from typing import Self

from django.db import connections
from django.test import Client

from events_app import tasks
from fake_sendgrid.http_server import HttpServer, Request, Response


class WebhookSite:
    def __init__(self) -> None:
        #: How often the webhooks gave each answer.
        self.statuses: Counter[int] = Counter()
        self._server = HttpServer(self._respond)
        self.url = f"http://127.0.0.1:{self._server.port}/anymail/sendgrid/tracking/"
        self.inbound_url = f"http://127.0.0.1:{self._server.port}/anymail/sendgrid/inbound/"

    def __enter__(self) -> Self:
        self._server.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _respond(self, request: Request) -> Response:
        try:
            answer = Client().post(
                request.path,
                request.body,
                content_type=request.headers["Content-Type"],
                headers={**request.headers, "Host": "127.0.0.1"},
            )
            self.statuses[answer.status_code] += 1
            if answer.status_code == 200:
                tasks.drain()
        finally:
            connections.close_all()
        return Response(answer.status_code, {}, answer.content)
