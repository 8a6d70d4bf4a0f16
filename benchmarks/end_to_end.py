"""From the first post to the last event received and marked done: our deployment, and the rival's."""

import os
import time
from contextlib import ExitStack
from typing import Protocol

import django
from redis import Redis

from benchmarks import counting, deployments, rounds, traffic
from benchmarks.traffic import Traffic
from devstack.process import wait_for
from devstack.stack import EVENT_QUEUES, Stack

#: Rounds of each.
ROUNDS = 3

#: Events of the round before them, which nobody measures.
_WARM = 200

#: Seconds a round may take.
_PATIENCE = 300


class Side(Protocol):
    """A deployment that runs."""

    @property
    def url(self) -> str: ...

    def expect(self, traffic: Traffic) -> None:
        """Make what is there before these events come."""

    def received(self) -> int:
        """How many events have been received, ever."""

    def is_done(self) -> bool:
        """Whether nothing is left of what was posted."""


class Ours:
    """`project` as it ships, with a receiver that counts. Once it is made, Django is ready here as well."""

    def __init__(self, *apps: str, **settings: str) -> None:
        """`apps`: further ones, with receivers of their own, and their settings."""
        counts = deployments.folder() / "counts"
        counting.make(counts)
        self.stack = deployments.ours(
            DJANGO_EXTRA_APPS=",".join(("benchmarks.counting.Counting", *apps)),
            **{counting.VARIABLE: str(counts)},
            **settings,
        )
        os.environ |= self.stack.env
        django.setup()

    @property
    def url(self) -> str:
        return self.stack.webhook_url

    def start(self, stack: ExitStack) -> None:
        stack.enter_context(self.stack.web())
        stack.enter_context(self.stack.worker("--concurrency", "2", queues=EVENT_QUEUES))

    def expect(self, traffic: Traffic) -> None:
        from benchmarks import outbox  # noqa: PLC0415 (it needs the apps)

        outbox.keep(traffic.mails)

    def received(self) -> int:
        return counting.counted()

    def is_done(self) -> bool:
        from events_app import stream  # noqa: PLC0415
        from events_app.models import PendingDelivery  # noqa: PLC0415

        return not stream.backlog() and not PendingDelivery.objects.exists()


class Rival:
    """A task for each event, which stores it; no mails are known to it."""

    def __init__(self) -> None:
        self.stack: Stack = deployments.rival("delay")
        self._ask = deployments.asking(self.stack)
        self._broker = Redis.from_url(deployments.rival_broker_url())

    @property
    def url(self) -> str:
        return self.stack.webhook_url

    def start(self, stack: ExitStack) -> None:
        stack.enter_context(self.stack.web())
        stack.enter_context(self.stack.worker("--concurrency", "2", queues=["celery"]))

    def expect(self, traffic: Traffic) -> None:
        pass

    def received(self) -> int:
        return self._ask("SELECT count(*) FROM rival_receivedevent")

    def is_done(self) -> bool:
        return not self._broker.exists("celery", "unacked")


def rate(side: Side, about: Traffic) -> float:
    """Events a second, each counted once. Raises RuntimeError where one was received twice."""
    side.expect(about)
    wanted = side.received() + len(about.events)
    began = time.perf_counter()
    traffic.send(side.url, about.posts)
    wait_for(lambda: side.received() >= wanted and side.is_done(), seconds=_PATIENCE, what="the last event")
    took = time.perf_counter() - began
    if side.received() != wanted:
        raise RuntimeError(f"{side.received() - wanted} events were received twice")
    return len(about.events) / took


def compare(size: int, ours: int, rival: int) -> None:
    """Rounds of so many events each, in posts of `size`."""
    a, b = Ours(), Rival()
    seeds = iter(range(1000))

    def measure(side: Side, count: int) -> float:
        return rate(side, traffic.make(deployments.sender(), count, size, next(seeds)))

    with ExitStack() as stack:
        for side in (a, b):
            side.start(stack)
            measure(side, _WARM)
        rounds.tell(*rounds.alternate(lambda: measure(a, ours), lambda: measure(b, rival), ROUNDS))
