"""An HTTP server of plain sockets: it answers, hangs or breaks off at the byte a test chooses."""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Self, TypeAlias


@dataclass
class Request:
    line: str
    #: By their names in small letters.
    headers: dict[str, str]
    body: bytes = b""


class ClientConnection:
    """One connection of a client."""

    def __init__(self, connection: socket.socket, ended: threading.Event) -> None:
        self._connection = connection
        self._file = connection.makefile("rb")
        self._ended = ended

    def head(self) -> Request | None:
        """A request's line and headers; None where the client has hung up."""
        line = self._file.readline().decode("latin-1").strip()
        if not line:
            return None
        headers = {}
        while header := self._file.readline().decode("latin-1").strip():
            name, _, value = header.partition(": ")
            headers[name.lower()] = value
        return Request(line, headers)

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def request(self) -> Request | None:
        """A whole request."""
        found = self.head()
        if found:
            found.body = self.read(int(found.headers["content-length"]))
        return found

    def say(self, data: bytes) -> None:
        self._connection.sendall(data)

    def stop_reading(self) -> None:
        """Close without reading what is on its way; what was said arrives."""
        self._connection.shutdown(socket.SHUT_WR)

    def hang(self) -> None:
        """Keep the connection and say nothing until the test is over."""
        self._ended.wait()

    def end(self) -> None:
        """Wake whoever reads from it; any thread may."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._file.close()
        self._connection.close()


#: What a server does with a connection. Answers the whole requests it read there.
Behaviour: TypeAlias = Callable[[ClientConnection, list[Request]], None]


@dataclass
class HttpServer:
    """A server on a port of its own, one thread for each connection."""

    behave: Behaviour
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ended = threading.Event()
        self._peers: list[ClientConnection] = []
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.address}/v3/"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        socket.create_connection(self._listener.getsockname()).close()  # it wakes the accept
        self._threads[0].join()
        for peer in self._peers:
            peer.end()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._ended.is_set():
                connection.close()
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=[connection])
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with closing(ClientConnection(connection, self._ended)) as peer:
                self._peers.append(peer)
                self.behave(peer, self.requests)


#: Starts a server that ends with the test.
Serve: TypeAlias = Callable[[Behaviour], HttpServer]


def response(status: int, body: bytes = b"", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status} What It Says", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


def answering(*answers: bytes) -> Behaviour:
    """Answers one request after another on each connection, the last answer for ever."""

    def behave(peer: ClientConnection, requests: list[Request]) -> None:
        while found := peer.request():
            requests.append(found)
            peer.say(answers[min(len(requests), len(answers)) - 1])

    return behave


ACCEPTED = response(202, b"", "X-Message-Id: fnY2B5dkT0K1cHFs9QmHzA")
