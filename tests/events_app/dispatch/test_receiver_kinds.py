"""Every kind of receiver that Django takes is called, and retried by its name in another process."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias
from unittest.mock import AsyncMock, Mock

import pytest

from events_app.dispatch import dispatcher, leases
from events_app.dispatch.leases import Lease
from events_app.models import PendingDelivery
from events_app.signals import ReceiverSignal
from tests.support.events.leases import make_due, store_leased

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

#: The mark of a receiver, and the attempt.
Calls: TypeAlias = list[tuple[str, int]]
Receiver: TypeAlias = Callable[..., object]


def note(calls: Calls, mark: str, attempt: int, **_: Any) -> None:
    calls.append((mark, attempt))
    if mark == "two" and attempt == 1:
        raise RuntimeError("the shop is closed")


async def note_later(calls: Calls, mark: str, attempt: int, **_: Any) -> None:
    note(calls, mark, attempt)


class Shop:
    def __init__(self, calls: Calls, mark: str) -> None:
        self.calls, self.mark = calls, mark

    def __call__(self, **arguments: Any) -> None:
        note(self.calls, self.mark, **arguments)

    def method(self, **arguments: Any) -> None:
        note(self.calls, self.mark, **arguments)

    async def async_method(self, **arguments: Any) -> None:
        note(self.calls, self.mark, **arguments)


class AsyncShop(Shop):
    async def __call__(self, **arguments: Any) -> None:  # type: ignore[override]
        note(self.calls, self.mark, **arguments)


def shops(calls: Calls) -> list[type[Any]]:
    class Base:
        mark = ""

        @classmethod
        def method(cls, **arguments: Any) -> None:
            note(calls, cls.mark, **arguments)

        @classmethod
        async def async_method(cls, **arguments: Any) -> None:
            note(calls, cls.mark, **arguments)

    class One(Base):
        mark = "one"

        @staticmethod
        def static(**arguments: Any) -> None:
            note(calls, "one", **arguments)

        @staticmethod
        async def async_static(**arguments: Any) -> None:
            note(calls, "one", **arguments)

    class Two(Base):
        mark = "two"

        @staticmethod
        def static(**arguments: Any) -> None:
            note(calls, "two", **arguments)

        @staticmethod
        async def async_static(**arguments: Any) -> None:
            note(calls, "two", **arguments)

    return [One, Two]


def closure(calls: Calls, mark: str) -> Receiver:
    def inner(**arguments: Any) -> None:
        note(calls, mark, **arguments)

    return inner


def async_closure(calls: Calls, mark: str) -> Receiver:
    async def inner(**arguments: Any) -> None:
        note(calls, mark, **arguments)

    return inner


KINDS: dict[str, Callable[[Calls], list[Receiver]]] = {
    "nested functions": lambda calls: [closure(calls, "one"), closure(calls, "two")],
    "async nested functions": lambda calls: [async_closure(calls, "one"), async_closure(calls, "two")],
    "lambdas": lambda calls: [
        lambda **arguments: note(calls, "one", **arguments),
        lambda **arguments: note(calls, "two", **arguments),
    ],
    "lambdas of coroutines": lambda calls: [
        lambda **arguments: note_later(calls, "one", **arguments),
        lambda **arguments: note_later(calls, "two", **arguments),
    ],
    "partials": lambda calls: [partial(note, calls, "one"), partial(note, calls, "two")],
    "async partials": lambda calls: [partial(note_later, calls, "one"), partial(note_later, calls, "two")],
    "objects": lambda calls: [Shop(calls, "one"), Shop(calls, "two")],
    "async objects": lambda calls: [AsyncShop(calls, "one"), AsyncShop(calls, "two")],
    "partials of async objects": lambda calls: [
        partial(AsyncShop(calls, "one")),
        partial(AsyncShop(calls, "two")),
    ],
    "methods": lambda calls: [Shop(calls, "one").method, Shop(calls, "two").method],
    "async methods": lambda calls: [Shop(calls, "one").async_method, Shop(calls, "two").async_method],
    "classmethods": lambda calls: [shop.method for shop in shops(calls)],
    "async classmethods": lambda calls: [shop.async_method for shop in shops(calls)],
    "staticmethods": lambda calls: [shop.static for shop in shops(calls)],
    "async staticmethods": lambda calls: [shop.async_static for shop in shops(calls)],
    "mocks": lambda calls: [
        Mock(side_effect=partial(note, calls, "one")),
        Mock(side_effect=partial(note, calls, "two")),
    ],
    "async mocks": lambda calls: [
        AsyncMock(side_effect=partial(note, calls, "one")),
        AsyncMock(side_effect=partial(note, calls, "two")),
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_two_receivers_of_a_kind_are_called_and_one_is_retried_by_name_in_another_process(
    kind: str, database: str, tracking: ReceiverSignal
) -> None:
    calls: Calls = []
    receivers = KINDS[kind](calls)
    for receiver in receivers:
        tracking.connect(receiver)
    lease = Lease()
    dispatcher.deliver(store_leased("A1", lease=lease), lease)
    assert calls == [("one", 1), ("two", 1)]
    pending = PendingDelivery.objects.get()
    assert pending.receivers.keys() == {tracking.named_receivers(None)[1].name}
    assert "the shop is closed" in next(iter(pending.receivers.values()))
    # Another process has other objects, and connects them in the same order.
    calls = []
    tracking.receivers = []
    others = KINDS[kind](calls)
    for receiver in others:
        tracking.connect(receiver)
    make_due(database)
    lease = Lease()
    dispatcher.deliver(leases.take_retries(lease, 100), lease)
    assert calls == [("two", 2)]
    assert not PendingDelivery.objects.exists()
