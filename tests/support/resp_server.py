"""A server in front of a Redis that answers some commands itself, as no real server of a test would."""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Protocol
from urllib.parse import urlsplit

#: By command: makes the answer, in the form of the protocol.
Answers = Mapping[bytes, Callable[[], bytes]]


class _Stream(Protocol):
    def readline(self) -> bytes: ...

    def read(self, size: int, /) -> bytes: ...


def bulk(text: str) -> bytes:
    """A string in the form of the protocol."""
    raw = text.encode()
    return b"$%d\r\n%s\r\n" % (len(raw), raw)


def array(*texts: str) -> bytes:
    return b"*%d\r\n%s" % (len(texts), b"".join(map(bulk, texts)))


@contextmanager
def resp_server(answers: Answers, url: str) -> Iterator[str]:
    """The URL of a server with these answers. The Redis of `url` answers every other command."""
    behind = urlsplit(url)

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((behind.hostname, behind.port)) as server:
                from_server = server.makefile("rb")
                while request := _read(self.rfile):
                    own = answers.get(_command(request))
                    if not own:
                        server.sendall(request)
                    self.wfile.write(own() if own else _read(from_server))

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"redis://127.0.0.1:{server.server_address[1]}{behind.path}"
        finally:
            server.shutdown()
            thread.join()


def _command(request: bytes) -> bytes:
    return request.split(b"\r\n", 3)[2].upper()


def _read(stream: _Stream) -> bytes:
    """A request or an answer of the protocol; empty at the end."""
    line = stream.readline()
    if line[:1] == b"$" and int(line[1:]) >= 0:
        return line + stream.read(int(line[1:]) + 2)
    if line[:1] == b"*":
        return line + b"".join(_read(stream) for _ in range(max(int(line[1:]), 0)))
    return line
