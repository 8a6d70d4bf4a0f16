"""Events a second of a deployment, from the first post until the last event is received and done."""

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

#: Rounds of each deployment.
ROUNDS = 3

#: Events of the unmeasured first round.
_WARM = 200

#: The timeout of a round, in seconds.
_PATIENCE = 300


class Side(Protocol):
    """A running deployment."""

    @property
    def url(self) -> str: ...

    def expect(self, traffic: Traffic) -> None:
        """Create the rows that exist before these events arrive."""

    def received(self) -> int:
        """The number of events received so far."""

    def is_done(self) -> bool:
        """Whether no posted event is pending."""


class Ours:
    """`project` with a counting receiver. Creating it also sets up Django in this process."""

    def __init__(self, *apps: str, **settings: str) -> None:
        """`apps` are further apps with receivers; `settings` are their settings."""
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
    """django-anymail with a Celery task that stores each event. It has no mails."""

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
    """Return distinct events a second. Raises RuntimeError if an event was received twice."""
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
    """Compare both in rounds of `ours` and `rival` events, in posts of `size`."""
    a, b = Ours(), Rival()
    seeds = iter(range(1000))

    def measure(side: Side, count: int) -> float:
        return rate(side, traffic.make(deployments.sender(), count, size, next(seeds)))

    with ExitStack() as stack:
        for side in (a, b):
            side.start(stack)
            measure(side, _WARM)
        rounds.report(*rounds.alternate(lambda: measure(a, ours), lambda: measure(b, rival), ROUNDS))
