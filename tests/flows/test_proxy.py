"""The shipped proxy in front of web: it keeps slow clients off, and no answer of its own loses a mail."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from devstack.idle_clients import HALF_HEADERS, IdleClients, request_without_body
from devstack.process import Process
from events_app.conf import BODY_LIMIT, INBOUND_LIMIT
from fake_sendgrid import inbound_form
from fake_sendgrid.events import generate_events
from fake_sendgrid.webhook_sender import WebhookSender, event_batch
from tests.support.flows import reverse_proxy
from tests.support.flows.databases import on_sqlite
from tests.support.flows.deployment import PATIENCE, Deployment
from tests.support.inbound.mails import sample_mail

pytestmark = [
    on_sqlite,
    pytest.mark.skipif(
        reverse_proxy.find_program() is None, reason="no nginx: its package has none for this machine"
    ),
]

TRACKING, INBOUND = "/anymail/sendgrid/tracking/", "/anymail/sendgrid/inbound/"
both_doors = pytest.mark.parametrize("path", [TRACKING, INBOUND], ids=["tracking", "inbound"])

WELL_FORMED = WebhookSender().headers(b"")
AGAIN = b"not taken, send again: the proxy answered in the place of web\n"


class Front:
    """A deployment and the proxy in front of it."""

    def __init__(self, deployment: Deployment, web: Process, port: int) -> None:
        self.sender, self.web, self.port = deployment.sender, web, port

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def post(self, path: str, body: bytes, content_type: str = "application/json") -> int:
        return self.sender.post(self.url(path), body, content_type=content_type, timeout=PATIENCE).status_code

    def say(self, request: bytes) -> bytes:
        """The version and the status that it answers to these bytes; nothing where it hangs up."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as client:
            client.sendall(request)
            try:
                return client.recv(12)
            except ConnectionResetError:
                return b""


@pytest.fixture
def front(deployment: Deployment, tmp_path: Path) -> Iterator[Front]:
    key = deployment.sender.public_key
    deployment.configure(SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY=key, INBOUND_FOLDER=tmp_path / "in")
    web = deployment.web()
    (tmp_path / "proxy").mkdir()
    with reverse_proxy.running(tmp_path / "proxy", deployment.stack.port) as port:
        yield Front(deployment, web, port)


def test_the_proxy_forwards_posts_byte_for_byte(front: Front) -> None:
    form = inbound_form.raw_form(sample_mail(text="\xff\x00\r\n" * 100_000))
    assert front.post(TRACKING, event_batch(generate_events(3))) == 200
    assert front.post(TRACKING, event_batch(generate_events(1000))) == 200
    assert front.post(INBOUND, form.body(), form.content_type) == 200


@pytest.mark.parametrize(
    ("path", "limit", "refusals"),
    [(TRACKING, BODY_LIMIT.default, {413, 503}), (INBOUND, INBOUND_LIMIT.default, {503})],
    ids=["tracking", "inbound"],
)
def test_a_body_over_the_limit_gets_413_or_503_and_inbound_only_503(
    front: Front, path: str, limit: int, refusals: set[int]
) -> None:
    for more in (1, 3_000_000):  # the second is over the proxy's limit for events
        assert front.post(path, b"x" * (limit + more)) in refusals
    assert (
        front.say(request_without_body(front.url(path), WELL_FORMED, length=100_000_000)) == b"HTTP/1.1 503"
    )


@both_doors
def test_the_proxy_ends_a_missing_body_without_passing_it_to_web(front: Front, path: str) -> None:
    assert front.say(request_without_body(front.url(path), WELL_FORMED) + b"x" * 999) == b""
    assert "refused" not in front.web.output()


def broken(path: str) -> dict[str, bytes]:
    """Requests that are none, by their fault."""
    line, host = f"POST {path} HTTP/1.1\r\n".encode(), b"Host: 127.0.0.1\r\n"
    host += "".join(f"{name}: {value}\r\n" for name, value in WELL_FORMED.items()).encode()
    return {
        "chunks without a size": line + host + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nxx\r\n0\r\n\r\n",
        "a length that is no number": line + host + b"Content-Length: ten\r\n\r\n",
        "two lengths": line + host + b"Content-Length: 10\r\nContent-Length: 11\r\n\r\n0123456789",
        "length and chunks": line
        + host
        + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "an unknown encoding": line + host + b"Transfer-Encoding: br\r\n\r\n",
        "no host": line + b"Content-Length: 1\r\n\r\nx",
        "a host that is none": line + b"Host: a/b\r\nContent-Length: 1\r\n\r\nx",
        "a header without a colon": line + host + b"Nothing\r\n\r\n",
        "headers too large": line + host + b"X-Long: " + b"x" * 50_000 + b"\r\n\r\n",
        "an address too long": f"POST {path}{'x' * 50_000} HTTP/1.1\r\n\r\n".encode(),
        "no known version": f"POST {path} HTTP/7.1\r\n\r\n".encode(),
        "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
    }


def test_a_broken_inbound_request_gets_5xx_or_no_answer(front: Front) -> None:
    answers = {fault: front.say(request) for fault, request in broken(INBOUND).items()}
    assert not {
        fault: answer for fault, answer in answers.items() if answer and not answer.startswith(b"HTTP/1.1 5")
    }


def test_a_broken_events_request_gets_no_2xx(front: Front) -> None:
    answers = {fault: front.say(request) for fault, request in broken(TRACKING).items()}
    assert not {fault: answer for fault, answer in answers.items() if answer.startswith(b"HTTP/1.1 2")}
    assert front.post(TRACKING, event_batch(generate_events(1))) == 200


@both_doors
def test_without_web_the_proxy_answers_503(front: Front, path: str) -> None:
    front.web.kill()
    answer = front.sender.post(front.url(path), b"[]", timeout=PATIENCE)
    assert (answer.status_code, answer.content) == (503, AGAIN)


def test_the_proxy_answers_posts_while_1500_clients_keep_idle_connections(front: Front) -> None:
    promised = request_without_body(front.url(TRACKING), WELL_FORMED)
    with IdleClients(front.port, [b"", HALF_HEADERS, promised] * 500) as idle_clients:
        ended = 0
        while ended < 1500:
            assert (
                front.sender.post(
                    front.url(TRACKING), event_batch(generate_events(1)), timeout=15
                ).status_code
                == 200
            )
            ended += idle_clients.reconnect()
    assert "refused" not in front.web.output()


def secure(front: Front, header: str) -> bool:
    """Whether Django takes a request with this header for https. Only then it answers with HSTS."""
    headers = {header: "https", "Host": "127.0.0.1"}
    answer = requests.head(front.url(TRACKING), headers=headers, timeout=PATIENCE)
    assert answer.status_code == 200
    return "Strict-Transport-Security" in answer.headers


def test_only_the_header_of_a_proxy_makes_a_request_secure(front: Front) -> None:
    assert secure(front, "X-Forwarded-Proto")
    # To Python the same name; Granian passes it on.
    assert not secure(front, "X_Forwarded_Proto")
    assert not secure(front, "X-Forwarded_Proto")


def test_logins_are_limited_by_client_and_nothing_else_is(front: Front) -> None:
    def log_in(client: str) -> int:
        """The answer to a login through a proxy in front, by a client that names another address."""
        headers = {"X-Forwarded-For": f"198.51.100.7, {client}"}
        return requests.post(front.url("/admin/login/"), headers=headers, timeout=PATIENCE).status_code

    answers = [log_in("203.0.113.1") for _ in range(40)]
    assert answers[:11] == [403] * 11  # of Django: without a CSRF cookie
    assert answers[-1] == 429
    assert log_in("203.0.113.2") == 403
    assert requests.get(front.url("/admin/login/"), timeout=PATIENCE).status_code == 200
    assert front.post(TRACKING, event_batch(generate_events(1))) == 200
