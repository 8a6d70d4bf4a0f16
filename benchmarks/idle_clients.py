"""`idle_clients`: the share of signed posts with a response within a second while idle clients are connected.

500 connections send nothing, 500 send half a header, and 500 announce a body with a well-formed signature.
"""

import time
from collections.abc import Sequence

import requests

from benchmarks import deployments, rounds, traffic
from benchmarks.traffic import Post
from devstack.idle_clients import HALF_HEADERS, IdleClients, request_without_body
from fake_sendgrid.events import generate_events
from fake_sendgrid.webhook_sender import WebhookSender

EACH = 500

#: Seconds of a round, longer than every time limit of the server.
SECONDS = 15


def main() -> None:
    posts = traffic.signed(deployments.sender(), generate_events(200 * 20), 20)
    stack = deployments.ours()
    announced = request_without_body(stack.webhook_url, WebhookSender().headers(b""))

    def with_idle_clients() -> float:
        with IdleClients(stack.port, [b"", HALF_HEADERS, announced] * EACH) as idle_clients:
            return _share(stack.webhook_url, posts, idle_clients)

    with stack.web():
        traffic.send(stack.webhook_url, posts[:20])  # unmeasured: it fills caches
        rounds.report(
            *rounds.alternate(
                with_idle_clients,
                lambda: _share(stack.webhook_url, posts, IdleClients(stack.port, [])),
                rounds=2,
            )
        )


def _share(url: str, posts: Sequence[Post], idle_clients: IdleClients) -> float:
    """Return the share in per cent. Idle clients reconnect whenever the server closes a connection."""
    end = time.monotonic() + SECONDS
    answered: list[bool] = []
    while time.monotonic() < end:
        body, headers = posts[len(answered) % len(posts)]
        try:
            answered.append(requests.post(url, body, headers=dict(headers), timeout=1).status_code == 200)
        except requests.RequestException:
            answered.append(False)
        idle_clients.reconnect()
    return 100 * sum(answered) / len(answered)


if __name__ == "__main__":
    main()
