"""Plans the mails of a month, and an hour with a trouble of each kind."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from devstack.seed import journeys
from devstack.seed.customers import ANN, BOB, CAROL, DAVE, ERIN, FRANK, Customer
from devstack.seed.journeys import AVERAGE_EVENTS, choose_journeys
from devstack.seed.mails import DAY, Letter, Plan, State
from devstack.seed.messages import invoice, shipped, to_many, to_one, welcome
from sending_app.outbox import ALL_SUPPRESSED

#: Most recipients of a mail.
LARGEST_BATCH = 1000

#: One of so many mails is a batch.
MAILS_PER_BATCH = 100

MINUTE = 60

REFUSED = (
    "SendGrid answered 403: The from address does not match a verified Sender Identity. Mail cannot be sent "
    "until this error is resolved. (from)"
)
GIVEN_UP = "Given up after 1 day: SendGrid was not reached: ConnectTimeout"
NO_ANSWER = "SendGrid gave no answer in time: ReadTimeout"
UNPROVEN = f"No proof came in time that SendGrid has the mail, or not. {NO_ANSWER}"
LIMITED = "SendGrid answered 429: too many requests"


def ordinary(
    rng: random.Random,
    customers: Sequence[Customer],
    times: Sequence[float],
    events: int,
    written: Callable[[], int],
) -> Iterator[Plan]:
    """A mail for each time. The size of the batches leads to so many events; `written` counts the events."""
    batches = max(1, len(times) // MAILS_PER_BATCH)
    places = set(rng.sample(range(len(times)), batches))
    for number, at in enumerate(times):
        if number in places:
            singles = len(times) - number - batches
            average = (events - written() - singles * AVERAGE_EVENTS) / AVERAGE_EVENTS / batches
            batches -= 1
            size = int(average * (rng.uniform(0.4, 1.6) if batches else 1))
            to = rng.sample(customers, min(max(size, 2), LARGEST_BATCH, len(customers)))
            ways = choose_journeys(rng, len(to))
            yield Plan(message=to_many(rng), letters=list(map(Letter, to, ways)), at=at)
        else:
            yield _single(rng, customers, at)


def _single(rng: random.Random, customers: Sequence[Customer], at: float) -> Plan:
    """A mail to one customer, sometimes with a copy. One of 800 has a trouble in the outbox."""
    (way,) = choose_journeys(rng, 1)
    to, copied = rng.sample(customers, 2)
    letter = Letter(to, way, [copied] if rng.random() < 0.04 else [])
    plan = Plan(message=to_one(rng), letters=[letter], at=at)
    fate = rng.random()
    if fate < 0.0005:
        return replace(plan, state=State.FAILED, error=REFUSED, log=[REFUSED])
    if fate < 0.0007:
        return replace(plan, state=State.FAILED, error=GIVEN_UP, log=[GIVEN_UP], attempts=40)
    if fate < 0.0010:
        return replace(plan, state=State.CANCELLED, log=["by hand: cancelled"])
    if fate < 0.0012:
        return replace(plan, sent_twice=True, attempts=2, log=[NO_ANSWER])
    return plan


def last_hour(rng: random.Random, customers: Sequence[Customer], now: float, waiting: int) -> Iterator[Plan]:
    """A trouble of each kind, and so many mails that wait for a paused account."""
    soon = replace(journeys.OPENED, delay=(200, 400))
    to_ann = Letter(
        ANN,
        (journeys.PROCESSED, journeys.GREYLISTED, journeys.DELIVERED, soon, journeys.CLICKED),
        cc=[Customer("Lee Bookkeeping", "books@firm-one.example")],
    )
    yield Plan(message=invoice(482_113), letters=[to_ann], at=now - 55 * MINUTE)
    arrives = (journeys.PROCESSED, journeys.DELIVERED)
    bounces = Letter(BOB, (journeys.PROCESSED, journeys.NO_MAILBOX))
    yield Plan(message=welcome(90_211), letters=[bounces], at=now - 48 * MINUTE)
    yield Plan(
        message=shipped(482_090),
        letters=[Letter(FRANK, arrives)],
        at=now - 44 * MINUTE,
        sent_twice=True,
        attempts=2,
        log=[NO_ANSWER],
    )
    yield Plan(
        message=shipped(482_101),
        letters=[Letter(CAROL, arrives)],
        at=now - 40 * MINUTE,
        state=State.FAILED,
        error=REFUSED,
        log=[REFUSED],
    )
    yield Plan(
        message=invoice(482_104),
        letters=[Letter(DAVE, arrives)],
        at=now - 35 * MINUTE,
        state=State.PARKED,
        error=UNPROVEN,
        log=[NO_ANSWER, UNPROVEN],
    )
    yield Plan(
        message=invoice(482_120),
        letters=[Letter(ERIN, arrives)],
        at=now - 12 * MINUTE,
        state=State.UNKNOWN,
        error=NO_ANSWER,
        log=[NO_ANSWER],
        due_in=60 * MINUTE,
    )
    yield Plan(
        message=to_one(rng),
        letters=[Letter(rng.choice(customers), arrives)],
        at=now - 10 * MINUTE,
        state=State.WAITING,
        due_in=DAY,
        send_at=now + DAY,
    )
    yield Plan(
        message=shipped(482_115),
        letters=[Letter(rng.choice(customers), arrives)],
        at=now - 8 * MINUTE,
        state=State.CANCELLED,
        log=["by hand: cancelled"],
    )
    yield Plan(
        message=welcome(90_214),
        letters=[Letter(BOB, arrives)],
        at=now - 6 * MINUTE,
        state=State.REJECTED,
        error=ALL_SUPPRESSED,
    )
    for number in range(waiting):
        yield Plan(
            message=to_one(rng),
            letters=[Letter(rng.choice(customers), arrives)],
            at=now - 4 * MINUTE + 3 * MINUTE * number / waiting,
            state=State.WAITING,
            error=LIMITED if number == 0 else "",
            log=[LIMITED] if number == 0 else (),
        )
