"""`idle`: milliseconds to respond to a signed post of 20 events while 500 idle connections are open."""

from collections.abc import Sequence
from statistics import median
from time import perf_counter

from benchmarks import deployments, rounds, traffic
from benchmarks.traffic import Post
from devstack.idle_clients import IdleClients
from fake_sendgrid.events import generate_events

#: Posts of a round, and rounds. Rounds are short, so that other load on the machine hits both sides.
POSTS, ROUNDS = 100, 15

CONNECTIONS = 500


def main() -> None:
    posts = traffic.signed(deployments.sender(), generate_events(POSTS * 20), 20)
    stack = deployments.ours()

    def held() -> float:
        with IdleClients(stack.port, [b""] * CONNECTIONS):
            return _milliseconds(stack.webhook_url, posts)

    with stack.web():
        traffic.send(stack.webhook_url, posts[:20])  # unmeasured: it fills caches
        rounds.report(*rounds.alternate(held, lambda: _milliseconds(stack.webhook_url, posts), rounds=ROUNDS))


def _milliseconds(url: str, posts: Sequence[Post]) -> float:
    """Return the median milliseconds of a post, each over a new connection."""
    taken = []
    for post in posts:
        began = perf_counter()
        traffic.send_in_turn(url, [post])
        taken.append(perf_counter() - began)
    return median(taken) * 1000


if __name__ == "__main__":
    main()
