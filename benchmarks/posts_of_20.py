"""`posts_of_20`: posts of 20 signed events that a web server and Redis accept a second. No worker runs."""

import os
import time
from collections.abc import Sequence

from redis import Redis

from benchmarks import deployments, rounds, traffic
from benchmarks.traffic import Post
from devstack.stack import Stack
from fake_sendgrid.events import generate_events

#: Posts of a round for each side; both take some seconds.
OURS, RIVALS = 1500, 40


def main() -> None:
    posts = traffic.signed(deployments.sender(), generate_events(OURS * 20), 20)
    ours, rival = deployments.ours(), deployments.rival("delay")
    with ours.web(), rival.web():
        for stack in (ours, rival):
            traffic.send(stack.webhook_url, posts[:20])  # unmeasured: it fills caches
        rounds.report(
            *rounds.alternate(lambda: _rate(ours, posts), lambda: _rate(rival, posts[:RIVALS]), rounds=9)
        )


def _rate(stack: Stack, posts: Sequence[Post]) -> float:
    for url in (os.environ["BENCH_REDIS_URL"], deployments.rival_broker_url()):
        _empty(Redis.from_url(url))
    began = time.perf_counter()
    traffic.send(stack.webhook_url, posts)
    return len(posts) / (time.perf_counter() - began)


def _empty(valkey: Redis) -> None:
    # Keep Celery's bindings of queues: its producers declare them only once.
    keys = [key for key in valkey.scan_iter() if not key.startswith(b"_kombu.")]
    if keys:
        valkey.delete(*keys)


if __name__ == "__main__":
    main()
