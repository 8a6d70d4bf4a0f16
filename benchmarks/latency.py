"""`./dev bench latency [SECONDS]`: the time of an event from its post to the receiver's call.

Posts follow a schedule that does not wait for responses (open loop), at shares of the sustained load, and at
long intervals for the idle case. Each time starts when the post was due, so a late client hides no delay.

The speed of a machine with other work changes by a tenth within a minute, and above the sustained load events
queue up. So each round measures the sustained load just before.
"""

import json
import math
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from statistics import median, quantiles
from typing import NamedTuple

from benchmarks import deployments, noting, traffic
from benchmarks.end_to_end import ROUNDS, Ours, rate
from benchmarks.traffic import Post
from devstack.process import wait_for

#: Events in a post.
SIZES = (20, 1000)

#: Shares of the sustained load.
SHARES = (0.1, 0.5, 0.9)

#: The goal: the median in seconds, in posts of this size at this share.
GOAL, GOAL_SIZE, GOAL_SHARE = 0.2, 20, 0.9

#: Seconds between posts in the idle case, and their number.
IDLE, IDLE_POSTS = 3.1, 20

#: Events that measure the sustained load.
EVENTS = 20_000


class Load(NamedTuple):
    """`posts` posts of `size` events, one each `pause` seconds."""

    size: int
    pause: float
    posts: int


class Times(NamedTuple):
    """A line of the table, in seconds."""

    name: str
    size: int
    #: Events a second, duplicates included.
    speed: float
    median: float
    of_90: float
    of_95: float
    of_99: float
    longest: float

    def __str__(self) -> str:
        times = "".join(f"{1000 * seconds:>10,.0f}" for seconds in self[3:])
        return f"{self.size:>8,} {self.name:>8} {self.speed:>10,.0f}{times}"


_HEAD = (
    "posts of     load   events/s    median       90%       95%       99%   longest"
    "  (ms from post to receiver)"
)


def main(seconds: int) -> None:
    ours = Ours("benchmarks.noting.Noting", **{noting.VARIABLE: str(deployments.folder() / "notes")})
    seeds = count()
    found = []
    with ExitStack() as stack:
        ours.start(stack)
        stack.enter_context(ours.stack.beat())
        for size in SIZES:
            _sustained(ours, size, seeds)  # unmeasured
            found.append(_times("idle", [Load(size, IDLE, IDLE_POSTS)], ours, seeds))
            found += [
                _times(_name(share), _loads(size, share, seconds, ours, seeds), ours, seeds)
                for share in SHARES
            ]
    print("", _HEAD, *found, sep="\n", flush=True)
    reached = {(times.size, times.name): times.median for times in found}
    held = reached[GOAL_SIZE, _name(GOAL_SHARE)] <= GOAL
    _say(
        f"goal: a median of {1000 * GOAL:.0f} ms in posts of {GOAL_SIZE} at {_name(GOAL_SHARE)} load; "
        f"{'holds' if held else 'MISSED'}"
    )


def _loads(size: int, share: float, seconds: int, ours: Ours, seeds: "count[int]") -> Iterator[Load]:
    """The load of each round, as a share of the sustained load. Each is measured when it is asked for."""
    for _ in range(ROUNDS):
        sustained = _sustained(ours, size, seeds)
        _say(f"posts of {size:,}: {sustained:,.0f} events/s are sustained")
        pause = size / (share * sustained)
        yield Load(size, pause, math.ceil(seconds / pause))


def _name(share: float) -> str:
    return f"{share:.0%}"


def _sustained(ours: Ours, size: int, seeds: "count[int]") -> float:
    """Events a second, duplicates included, as fast as the deployment takes them."""
    distinct = rate(ours, traffic.make(deployments.sender(), EVENTS, size, next(seeds)))
    return distinct * (100 + traffic.DUPLICATES) / 100


def _times(name: str, loads: Iterable[Load], ours: Ours, seeds: "count[int]") -> Times:
    """Measure the loads one after the other. The quantiles are over the events of all loads."""
    took: list[float] = []
    seconds = events = 0.0
    for load in loads:
        of_load = _measure(ours, load, next(seeds))
        _say(f"  {name}: {1000 * median(of_load):,.0f} ms")
        took += of_load
        seconds += load.posts * load.pause
        events += load.posts * load.size
    parts = quantiles(took, n=100)
    return Times(name, load.size, events / seconds, parts[49], parts[89], parts[94], parts[98], max(took))


def _measure(ours: Ours, load: Load, seed: int) -> list[float]:
    """The seconds from post to receiver of each event."""
    # Duplicates fill the rest of the posts.
    events = load.posts * load.size * 100 // (100 + traffic.DUPLICATES)
    about = traffic.make(deployments.sender(), events, load.size, seed)
    ours.expect(about)
    wanted = ours.received() + len(about.events)
    due = _post_on_schedule(ours.url, about.posts, load.pause)
    wait_for(lambda: ours.received() >= wanted and ours.is_done(), seconds=300, what="the last event")
    received = noting.noted()
    return [received[event_id] - at for event_id, at in _when_posted(about.posts, due).items()]


def _post_on_schedule(url: str, posts: Sequence[Post], pause: float) -> list[float]:
    """Post one each `pause` seconds; return the due times."""
    # Enough connections for a free one at each post, as long as responses take less than two seconds. Not
    # more, because the server closes idle ones.
    connections = max(1, min(32, round(2 / pause)))
    first = time.monotonic() + 0.1
    due = [first + number * pause for number in range(len(posts))]

    def share(at: int) -> None:
        traffic.send_in_turn(url, _when_due(posts[at::connections], due[at::connections]))

    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(share, range(connections)))
    return due


def _when_due(posts: Sequence[Post], due: Sequence[float]) -> Iterator[Post]:
    for post, at in zip(posts, due, strict=True):
        time.sleep(max(0.0, at - time.monotonic()))
        yield post


def _when_posted(posts: Sequence[Post], due: Sequence[float]) -> dict[str, float]:
    """Return, by event id, the due time of the first post with the event."""
    found: dict[str, float] = {}
    for post, at in zip(posts, due, strict=True):
        for event in json.loads(post.body):
            found.setdefault(event["sg_event_id"], at)
    return found


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 5)
