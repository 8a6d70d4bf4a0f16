"""A threaded HTTP/1.1 server on 127.0.0.1. Its handler returns a response or closes the connection."""

import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, TypeAlias

#: A longer body is refused unread.
_LONGEST_BODY = 100_000_000


class Request(NamedTuple):
    method: str
    path: str
    #: Header names in title case, such as Content-Type.
    headers: Mapping[str, str]
    body: bytes


class Response(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


#: None closes the connection without a response.
Handler: TypeAlias = Callable[[Request], Response | None]


class HttpServer:
    """It listens from the start. Clients that connect before `open` wait."""

    def __init__(self, handler: Handler, port: int = 0) -> None:
        self._server = _Server(("127.0.0.1", port), partial(_RequestHandler, handler))
        self.port: int = self._server.server_port
        # A short interval, because `close` waits for the next poll.
        serve = partial(self._server.serve_forever, poll_interval=0.02)
        self._thread = threading.Thread(target=serve, name="fake_sendgrid API", daemon=True)

    def open(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Close the port and every connection."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.break_connections()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # The default of 5 makes further clients that connect at once wait a second.
    request_queue_size = 1024

    def __init__(self, *args: Any) -> None:
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(*args)

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            with self._lock:
                self._connections.discard(request)

    def break_connections(self) -> None:
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that disconnects in the middle of a request is not an error.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _RequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, handler: Handler, *args: Any) -> None:
        self._handler = handler
        super().__init__(*args)

    def _handle(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or "Transfer-Encoding" in self.headers:
            self._refuse(HTTPStatus.LENGTH_REQUIRED)
            return
        if int(length) > _LONGEST_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return
        headers = {name.title(): value for name, value in self.headers.items()}
        response = self._handler(Request(self.command, self.path, headers, body))
        if response is None:
            self.close_connection = True
        else:
            self._write(response)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self._write(Response(status, {"Connection": "close"}, b""))

    def _write(self, response: Response) -> None:
        lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}", "Server: nginx"]
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        head = "\r\n".join([*lines, f"Content-Length: {len(response.body)}", "", ""])
        # One write: two small packets would wait for each other (Nagle, delayed ACK).
        self.wfile.write(head.encode() + response.body)
