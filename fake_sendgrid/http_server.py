"""HTTP/1.1 on 127.0.0.1: a request in, a reply out or the connection closed; many at once."""

import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, TypeAlias

#: More is not even read.
_LONGEST_BODY = 100_000_000


class Request(NamedTuple):
    method: str
    path: str
    #: Each word of a name begins with a capital, whatever was sent.
    headers: Mapping[str, str]
    body: bytes


class Response(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


#: None closes the connection without a word.
Respond: TypeAlias = Callable[[Request], Response | None]


class HttpServer:
    """It has its port from the start. Who dials before `open` waits."""

    def __init__(self, respond: Respond, port: int = 0) -> None:
        self._server = _Server(("127.0.0.1", port), partial(_Handler, respond))
        self.port: int = self._server.server_port
        # Short: `close` waits for it.
        serve = partial(self._server.serve_forever, poll_interval=0.02)
        self._thread = threading.Thread(target=serve, name="SendGrid's door", daemon=True)

    def open(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """The port, and all connections with it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.break_connections()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # As many as may dial before the first is met; 5 by default, and the rest would wait a second.
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
        # Who goes away in the middle is no fault of ours.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, respond: Respond, *args: Any) -> None:
        self._respond = respond
        super().__init__(*args)

    def _meet(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or "Transfer-Encoding" in self.headers:
            self._turn_away(HTTPStatus.LENGTH_REQUIRED)
            return
        if int(length) > _LONGEST_BODY:
            self._turn_away(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return
        headers = {name.title(): value for name, value in self.headers.items()}
        reply = self._respond(Request(self.command, self.path, headers, body))
        if reply is None:
            self.close_connection = True
        else:
            self._write(reply)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _meet

    def _turn_away(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self._write(Response(status, {"Connection": "close"}, b""))

    def _write(self, reply: Response) -> None:
        lines = [f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}", "Server: nginx"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        head = "\r\n".join([*lines, f"Content-Length: {len(reply.body)}", "", ""])
        # In one piece: half a head in a packet of its own would wait for the other half.
        self.wfile.write(head.encode() + reply.body)
