"""A body arrives in time, or its request gets a response without it and its connection ends."""

import io
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from devstack.process import wait_for
from project import bodies
from project.bodies import BodyDeadline

#: Seconds that no test waits for.
LONG = 60.0

Headers = list[tuple[str, str]]


class Silent(io.BytesIO):
    """A body that does not arrive until a test releases it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.end = threading.Event(), threading.Event()

    def read(self, size: int | None = -1, /) -> bytes:
        self.asked.set()
        self.end.wait()
        return b""


class Slow(io.BytesIO):
    """An endless body that arrives in single bytes."""

    def read(self, size: int | None = -1, /) -> bytes:
        threading.Event().wait(0.01)
        return b"x"


@pytest.fixture
def silent() -> Iterator[Silent]:
    body = Silent()
    yield body
    body.end.set()


def echo(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """A WSGI application that responds with the body, or with the error raised on reading it."""
    try:
        content = environ["wsgi.input"].read()
    except OSError as error:
        content = f"{type(error).__name__}: {error}".encode()
    start_response("200 OK", [("Content-Length", str(len(content))), ("X-Other", "1")])
    return [content]


def ask(application: BodyDeadline, body: io.BytesIO) -> tuple[Headers, bytes]:
    answered: list[Headers] = []

    def start_response(status: str, headers: Headers, *_: object) -> Callable[[bytes], object]:
        answered.append(headers)
        return lambda _: None

    environ: dict[str, Any] = {"wsgi.input": body}
    content = b"".join(application(environ, start_response))
    (headers,) = answered
    return headers, content


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 1_000_000])
def test_a_body_is_passed_on_unchanged(size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    headers, content = ask(BodyDeadline(echo), io.BytesIO(body))
    assert (headers, content) == ([("Content-Length", str(size)), ("X-Other", "1")], body)


def test_the_body_supports_all_wsgi_read_methods() -> None:
    def reads(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        stream = environ["wsgi.input"]
        found = [
            stream.read(3),
            stream.readline(),
            *stream.readlines(1),
            *stream,
            stream.read(),
            stream.read(5),
        ]
        start_response("200 OK", [])
        return [repr(found).encode()]

    _, content = ask(BodyDeadline(reads), io.BytesIO(b"one\ntwo\nthree\nfour"))
    assert content == repr([b"one", b"\n", b"two\n", b"three\n", b"four", b"", b""]).encode()


@pytest.mark.parametrize("kind", [Silent, Slow])
def test_a_body_timeout_raises_in_read_and_the_answer_announces_one_byte_more(
    monkeypatch: pytest.MonkeyPatch, kind: type[io.BytesIO]
) -> None:
    monkeypatch.setattr(bodies, "PATIENCE", 0.1)
    body = kind()
    headers, content = ask(BodyDeadline(echo), body)
    assert content == b"TimeoutError: the body is late"
    assert headers == [("Content-Length", str(len(content) + 1)), ("X-Other", "1")]
    if isinstance(body, Silent):
        body.end.set()


def test_an_error_of_the_server_is_raised_in_read() -> None:
    class Broken(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError("reset by peer")

    assert ask(BodyDeadline(echo), Broken())[1] == b"OSError: reset by peer"


def test_a_request_waiting_for_its_body_blocks_no_other(
    monkeypatch: pytest.MonkeyPatch, silent: Silent
) -> None:
    monkeypatch.setattr(bodies, "AT_WORK", 1)
    monkeypatch.setattr(bodies, "PATIENCE", LONG)
    application = BodyDeadline(echo)
    waiting = threading.Thread(target=ask, args=(application, silent))
    waiting.start()
    silent.asked.wait()
    assert ask(application, io.BytesIO(b"hello"))[1] == b"hello"
    silent.end.set()
    waiting.join()


def test_the_number_of_concurrent_requests_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "AT_WORK", 2)
    lock, go_on = threading.Lock(), threading.Event()
    at_work, most = 0, 0

    def works(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        go_on.wait()
        with lock:
            at_work -= 1
        return echo(environ, start_response)

    application = BodyDeadline(works)
    askers = [threading.Thread(target=ask, args=(application, io.BytesIO(b"x"))) for _ in range(8)]
    for asker in askers:
        asker.start()
    wait_for(lambda: at_work == 2, seconds=LONG, what="two are at work")
    go_on.set()
    for asker in askers:
        asker.join()
    assert most == 2
