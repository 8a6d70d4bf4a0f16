"""`strangers`: the share of signed posts answered within a second while others keep the web process waiting.

500 connections are silent, 500 send half a header, and 500 promise a body with a signature of the right form.
"""

import time
from collections.abc import Sequence

import requests

from benchmarks import deployments, rounds, traffic
from benchmarks.traffic import Post
from fake_sendgrid.events import history
from fake_sendgrid.webhook import Sender
from ground.strangers import HALF_HEADERS, Strangers, promise

EACH = 500

#: Of a round: longer than any of the server's time limits.
SECONDS = 15


def main() -> None:
    posts = traffic.signed(deployments.sender(), history(200 * 20), 20)
    stack = deployments.ours()
    promised = promise(stack.webhook_url, Sender().headers(b""))

    def kept_waiting() -> float:
        with Strangers(stack.port, [b"", HALF_HEADERS, promised] * EACH) as strangers:
            return _share(stack.webhook_url, posts, strangers)

    with stack.web():
        traffic.send(stack.webhook_url, posts[:20])  # what is only made once
        rounds.tell(
            *rounds.alternate(
                kept_waiting, lambda: _share(stack.webhook_url, posts, Strangers(stack.port, [])), rounds=2
            )
        )


def _share(url: str, posts: Sequence[Post], strangers: Strangers) -> float:
    """Per cent. The strangers connect again wherever they are hung up on."""
    end = time.monotonic() + SECONDS
    answered: list[bool] = []
    while time.monotonic() < end:
        body, headers = posts[len(answered) % len(posts)]
        try:
            answered.append(requests.post(url, body, headers=dict(headers), timeout=1).status_code == 200)
        except requests.RequestException:
            answered.append(False)
        strangers.renew()
    return 100 * sum(answered) / len(answered)


if __name__ == "__main__":
    main()
