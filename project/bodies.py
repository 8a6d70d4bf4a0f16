"""A deadline for request bodies, for a web server that has none.

Under Granian a thread that reads a body waits until the client disconnects. So the server has many threads. A
semaphore lets a few of them work, the others may wait for bodies, and a deadline ends each wait.
"""

import io
import random
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from events_app.shared.deadline import DeadlineExceeded, Threads

#: The most requests at work at once. Each may hold a database connection.
AT_WORK = 32

#: Seconds that a client may keep a thread waiting for its body, in total.
PATIENCE = 5.0

#: Bytes a second: a body has a second more for each 32 KB received.
SLOWEST = 32 * 1024

# The most bytes of one read.
_PIECE = 64 * 1024

# Seconds to write a response.
_MOMENT = 0.1

# Each thread of the server needs at most one reader, and Granian has fewer threads than this.
_readers = Threads("body", most_late=2048)


class BodyDeadline:
    """WSGI middleware. Reading a late body raises OSError, and its connection ends after the response."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application
        self._turns = threading.Semaphore(AT_WORK)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = _Body(environ["wsgi.input"], self._turns)

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            return start_response(status, _one_byte_more(headers) if body.late else headers, *exc_info)

        environ["wsgi.input"] = io.BufferedReader(body, _PIECE)
        with self._turns:
            content = self._application(environ, start)
        return _in_two_steps(content) if body.late else content


class _Body(io.RawIOBase):
    def __init__(self, source: Any, turns: threading.Semaphore) -> None:
        self.late = False
        self._source = source
        self._turns = turns
        # Jitter: requests that came together do not all expire at once.
        self._patience = PATIENCE * random.uniform(0.8, 1.2)  # noqa: S311

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), _PIECE)
        if self.late:
            raise TimeoutError("the body is late")
        self._turns.release()
        began = time.monotonic()
        try:
            piece: bytes = _readers.run(lambda: self._source.read(size), self._patience)
            self._patience += len(piece) / SLOWEST - (time.monotonic() - began)
        except DeadlineExceeded:
            self.late = True
            raise TimeoutError("the body is late") from None
        finally:
            self._turns.acquire()
        buffer[: len(piece)] = piece
        return len(piece)


def _one_byte_more(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Announce one byte more than is sent, so that the server closes the connection and frees its thread.

    After a complete response hyper, Granian's HTTP library, would wait for the rest of the body, even with
    `Connection: close`.
    """
    return [
        (name, str(int(value) + 1) if name.lower() == "content-length" else value) for name, value in headers
    ]


def _in_two_steps(content: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content and delay its end: at the end hyper drops bytes that it has not written yet."""
    try:
        yield from content
        time.sleep(_MOMENT)
    finally:
        if close := getattr(content, "close", None):
            close()
