"""`redis_memory`: bytes that Valkey uses for an event that waits, beside those of the event."""

import json
import os
from collections.abc import Sequence
from typing import Any

from redis import Redis

from benchmarks import deployments, rounds, traffic
from benchmarks.traffic import Post
from fake_sendgrid.events import history
from fake_sendgrid.webhook import batch

#: In each round, in posts of 1,000.
EVENTS = 50_000

ROUNDS = 3


def main() -> None:
    valkey = Redis.from_url(os.environ["BENCH_REDIS_URL"])
    deployment = deployments.ours()
    memory, raw = [], []
    with deployment.web():
        for seed in range(1, ROUNDS + 1):
            events = [json.dumps(event, separators=(",", ":")).encode() for event in history(EVENTS, seed)]
            posts = _posts(events)
            # By itself it would answer first and free the memory later.
            valkey.execute_command("FLUSHDB", "SYNC")  # type: ignore[no-untyped-call]
            before = _used(valkey)
            traffic.send(deployment.webhook_url, posts)
            memory.append((_used(valkey) - before) / EVENTS)
            raw.append(sum(map(len, events)) / EVENTS)
    rounds.tell(memory, raw)


def _posts(events: Sequence[bytes]) -> list[Post]:
    sender = deployments.sender()
    bodies = [batch(events[at : at + 1000]) for at in range(0, len(events), 1000)]
    return [Post(body, sender.headers(body)) for body in bodies]


def _used(valkey: Redis) -> int:
    memory: Any = valkey.info("memory")
    return int(memory["used_memory"])


if __name__ == "__main__":
    main()
