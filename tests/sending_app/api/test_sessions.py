"""A connection is used again while that is safe, and by nobody else."""

import subprocess
import sys
import threading

import pytest

from sending_app.api import sessions
from tests.support.http_server import (
    ACCEPTED,
    ClientConnection,
    HttpServer,
    Request,
    Serve,
    answering,
    response,
)


def post(wire: HttpServer) -> int:
    with sessions.session(wire.url) as session:
        return session.post(wire.url, data=b"{}", timeout=20).status_code


def test_a_connection_is_reused(serve: Serve) -> None:
    wire = serve(answering(ACCEPTED, response(400, b'{"errors": []}'), response(503), ACCEPTED))
    assert [post(wire) for _ in range(4)] == [202, 400, 503, 202]
    assert wire.connections == 1


def test_each_host_has_its_own_connection(serve: Serve) -> None:
    one, other = serve(answering(ACCEPTED)), serve(answering(ACCEPTED))
    for wire in (one, other, one, other):
        post(wire)
    assert (one.connections, other.connections) == (1, 1)


def test_each_thread_has_its_own_connection(serve: Serve) -> None:
    wire = serve(answering(ACCEPTED))
    post(wire)
    thread = threading.Thread(target=post, args=[wire])
    thread.start()
    thread.join()
    post(wire)
    assert (wire.connections, len(wire.requests)) == (2, 3)


FORKED = """
import os, sys
from sending_app.api import sessions
url = sys.argv[1]
def post():
    with sessions.session(url) as session:
        return session.post(url, data=b"{}").status_code
assert post() == 202
child = os.fork()
assert post() == 202
if not child:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert post() == 202
"""


def test_a_forked_process_has_its_own_connection(serve: Serve) -> None:
    wire = serve(answering(ACCEPTED))
    subprocess.run([sys.executable, "-c", FORKED, wire.url], check=True, timeout=60)
    assert (wire.connections, len(wire.requests)) == (2, 4)


def test_an_idle_connection_is_not_reused(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = serve(answering(ACCEPTED))
    post(wire)
    monkeypatch.setattr(sessions, "MAX_IDLE", -1)
    post(wire)
    assert wire.connections == 2


def test_a_closed_connection_is_not_reused(serve: Serve) -> None:
    closed = threading.Event()

    def behave(peer: ClientConnection, requests: list[Request]) -> None:
        peer.request()
        peer.say(ACCEPTED)
        peer.end()
        closed.set()

    wire = serve(behave)
    post(wire)
    closed.wait()
    assert post(wire) == 202
    assert wire.connections == 2


def test_an_interrupted_connection_is_not_reused(serve: Serve) -> None:
    wire = serve(answering(response(400), ACCEPTED))

    def interrupted() -> None:
        with sessions.session(wire.url) as session:
            session.post(wire.url, data=b"{}", timeout=20, stream=True)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert post(wire) == 202
    assert wire.connections == 2


def test_cookies_are_not_kept(serve: Serve) -> None:
    wire = serve(answering(response(202, b"", "Set-Cookie: a=b; Path=/")))
    for _ in range(2):
        post(wire)
    assert not [request for request in wire.requests if "cookie" in request.headers]
