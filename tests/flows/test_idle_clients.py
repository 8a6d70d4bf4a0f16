"""Clients that keep the web process waiting: SendGrid's posts are answered meanwhile."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from devstack.idle_clients import HALF_HEADERS, IdleClients, request_without_body
from devstack.process import wait_for
from events_app.views.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER
from fake_sendgrid.events import generate_events
from fake_sendgrid.webhook_sender import WebhookSender
from tests.support.flows.databases import on_sqlite
from tests.support.flows.deployment import PATIENCE, Deployment

pytestmark = on_sqlite

#: Clients of each kind.
EACH = 500

#: Seconds after which a post counts as held up. A web process that the clients stop answers none for longer.
HELD_UP = 15

#: Of the form SendGrid has, by a key that nobody knows.
WELL_FORMED = WebhookSender().headers(b"")


def test_posts_are_answered_while_1500_clients_keep_idle_connections(deployment: Deployment) -> None:
    deployment.web()
    promised = request_without_body(deployment.stack.webhook_url, WELL_FORMED)
    ended = 0
    with IdleClients(deployment.stack.port, [b"", HALF_HEADERS, promised] * EACH) as idle_clients:
        while ended < 3 * EACH:  # the web process has hung up on all of them, and they are back
            assert deployment.post(generate_events(1), timeout=HELD_UP) == 200
            ended += idle_clients.reconnect()


def test_clients_with_a_malformed_signature_are_refused_before_their_body_comes(
    deployment: Deployment,
) -> None:
    deployment.web()
    headers = {TIMESTAMP_HEADER: "1784000000", SIGNATURE_HEADER: "junk"}
    with IdleClients(
        deployment.stack.port, [request_without_body(deployment.stack.webhook_url, headers)] * EACH
    ):
        for _ in range(20):
            assert deployment.post(generate_events(1), timeout=HELD_UP) == 200


@pytest.mark.parametrize(("webhook", "status"), [("tracking", 400), ("inbound", 503)])
@pytest.mark.parametrize("sent", [b"", b"x" * 999], ids=["none of it", "most of it"])
def test_a_missing_body_is_answered_after_the_timeout_and_its_connection_closed(
    deployment: Deployment, tmp_path: Path, webhook: str, status: int, sent: bytes
) -> None:
    deployment.configure(
        SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY=deployment.sender.public_key, INBOUND_FOLDER=tmp_path / "in"
    )
    deployment.web()
    url = f"{deployment.stack.url}anymail/sendgrid/{webhook}/"
    with socket.create_connection(("127.0.0.1", deployment.stack.port), timeout=PATIENCE) as client:
        client.sendall(request_without_body(url, WELL_FORMED) + sent)
        assert client.recv(12) == f"HTTP/1.1 {status}".encode()
        while client.recv(65_536):
            pass


def test_a_web_process_terminated_while_it_starts_stops(deployment: Deployment) -> None:
    web = deployment.start_web()
    wait_for(lambda: _children(web.pid), seconds=PATIENCE, what="the child that serves", unless_dead=web)
    os.kill(web.pid, signal.SIGTERM)
    web.wait(60)


def _children(pid: int) -> list[str]:
    return subprocess.run(
        ["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split()
