"""The server keeps and closes connections as HTTP/1.1 requires."""

import http.client
import socket
from collections.abc import Iterator

import pytest

from fake_sendgrid.http_server import HttpServer, Request, Response


def respond(request: Request) -> Response | None:
    if request.path == "/gone":
        return None
    text = f"{request.method} {request.path} {request.headers.get('X-Some-Thing')}".encode()
    return Response(200, {"X-Length": str(len(request.body))}, text)


@pytest.fixture
def server() -> Iterator[HttpServer]:
    server = HttpServer(respond)
    server.open()
    yield server
    server.close()


def connect(server: HttpServer) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)


def test_one_connection_serves_many_requests(server: HttpServer) -> None:
    connection = connect(server)
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        connection.request(method, "/a?b=c", b"12345", {"x-some-THING": "here"})
        sock = connection.sock
        response = connection.getresponse()
        assert response.read() == f"{method} /a?b=c here".encode()
        assert response.headers["X-Length"] == "5"
        assert connection.sock is sock
    connection.close()


def test_without_a_reply_the_connection_is_closed(server: HttpServer) -> None:
    connection = connect(server)
    connection.request("POST", "/gone", b"")
    with pytest.raises(http.client.RemoteDisconnected):
        connection.getresponse()


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [("Transfer-Encoding", "chunked", 411), ("Content-Length", "-1", 411), ("Content-Length", "9" * 12, 413)],
)
def test_an_unreadable_body_is_refused(server: HttpServer, name: str, value: str, status: int) -> None:
    connection = connect(server)
    connection.putrequest("POST", "/")
    connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == status
    connection.close()


def test_many_concurrent_connections_are_served(server: HttpServer) -> None:
    sockets = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(100)]
    for one in sockets:
        one.sendall(b"GET / HTTP/1.1\r\n\r\n")
    for one in sockets:
        assert one.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
        one.close()


def test_a_client_that_disconnects_disturbs_no_other(
    server: HttpServer, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10) as one:
        one.sendall(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n1234")
    connection = connect(server)
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"GET / None"
    connection.close()
    assert capfd.readouterr().err == ""


def test_close_ends_open_connections() -> None:
    server = HttpServer(respond)
    server.open()
    connection = connect(server)
    connection.request("GET", "/")
    connection.getresponse().read()
    server.close()
    assert connection.sock.recv(1) == b""
    connection.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), 10)


def test_a_port_can_be_reused_after_close() -> None:
    first = HttpServer(respond)
    first.open()
    first.close()
    second = HttpServer(respond, first.port)
    second.open()
    assert second.port == first.port
    second.close()
