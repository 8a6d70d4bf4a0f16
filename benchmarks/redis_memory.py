"""`redis_memory`: bytes that Valkey uses for a waiting event, beside the bytes of the event."""

import json
import os
from typing import Any

from redis import Redis

from benchmarks import deployments, rounds, traffic
from devstack.stack import Stack
from fake_sendgrid.events import generate_events

#: Events of a round, in posts of 1,000.
EVENTS = 50_000

ROUNDS = 3


def main() -> None:
    deployment = deployments.ours()
    with deployment.web():
        found = [bytes_of_waiting(deployment, seed) for seed in range(1, ROUNDS + 1)]
    rounds.report([memory for memory, _ in found], [raw for _, raw in found])


def bytes_of_waiting(deployment: Stack, seed: int) -> tuple[float, float]:
    """Return the bytes of an event in Valkey, and its own. The web process must run, and no worker."""
    events = [json.dumps(event, separators=(",", ":")).encode() for event in generate_events(EVENTS, seed)]
    posts = traffic.signed(deployments.sender(), events, 1000)
    valkey = Redis.from_url(os.environ["BENCH_REDIS_URL"])
    _empty(valkey)
    before = _used(valkey)
    traffic.send(deployment.webhook_url, posts)
    used = _used(valkey) - before
    _empty(valkey)
    return used / EVENTS, sum(map(len, events)) / EVENTS


def _empty(valkey: Redis) -> None:
    # Without SYNC, Valkey would answer first and free the memory later.
    valkey.execute_command("FLUSHDB", "SYNC")  # type: ignore[no-untyped-call]


def _used(valkey: Redis) -> int:
    memory: Any = valkey.info("memory")
    return int(memory["used_memory"])


if __name__ == "__main__":
    main()
