"""Each receiver has a name of its own, and connects as to any signal of Django's."""

import gc
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.dispatch import receiver

from events_app.signals import NamedReceiver, ReceiverSignal

HERE = __name__


class Shop:
    def note(self, **_: Any) -> None: ...

    def __call__(self, **_: Any) -> None: ...


def first(**_: Any) -> None: ...


def second(**_: Any) -> None: ...


async def asynchronous(**kwargs: Any) -> object:
    return kwargs["event"]


def closure() -> Callable[..., None]:
    def inner(**_: Any) -> None: ...

    return inner


def names(signal: ReceiverSignal, sender: object = None) -> list[str]:
    return [receiver.name for receiver in signal.named_receivers(sender)]


def test_a_function_is_named_by_its_module_and_qualified_name(tracking: ReceiverSignal) -> None:
    tracking.connect(first)
    assert tracking.named_receivers(None) == [NamedReceiver(f"{HERE}.first", first)]


def test_a_dispatch_uid_is_the_name(tracking: ReceiverSignal) -> None:
    tracking.connect(first, dispatch_uid="shop.note")
    assert names(tracking) == ["shop.note"]


def test_a_bound_method_is_named_by_its_class(tracking: ReceiverSignal) -> None:
    shop = Shop()
    tracking.connect(shop.note)
    assert names(tracking) == [f"{HERE}.Shop.note"]


def test_receivers_are_called_in_the_order_of_their_connection(tracking: ReceiverSignal) -> None:
    tracking.connect(second)
    tracking.connect(first)
    assert names(tracking) == [f"{HERE}.second", f"{HERE}.first"]


def test_the_decorator_connects(tracking: ReceiverSignal) -> None:
    @receiver(tracking, dispatch_uid="decorated")
    def decorated(**_: Any) -> None: ...

    assert tracking.named_receivers(None) == [NamedReceiver("decorated", decorated)]


def test_two_receivers_with_one_dispatch_uid_raise_an_error_with_advice(tracking: ReceiverSignal) -> None:
    tracking.connect(first, dispatch_uid="note")
    with pytest.raises(ValueError, match=r"'note'.*dispatch_uid='\.\.\.'"):
        tracking.connect(second, dispatch_uid="note")
    assert names(tracking) == ["note"]


def test_two_closures_with_one_name_raise_an_error(tracking: ReceiverSignal) -> None:
    one, other = closure(), closure()
    tracking.connect(one)
    with pytest.raises(ValueError, match=r"closure\.<locals>\.inner.*dispatch_uid"):
        tracking.connect(other)


def test_one_method_of_two_objects_raises_an_error(tracking: ReceiverSignal) -> None:
    one, other = Shop(), Shop()
    tracking.connect(one.note)
    with pytest.raises(ValueError, match=r"Shop\.note"):
        tracking.connect(other.note)


def test_two_receivers_with_one_name_raise_an_error_even_with_different_senders(
    tracking: ReceiverSignal,
) -> None:
    tracking.connect(first, sender=Shop, dispatch_uid="note")
    with pytest.raises(ValueError, match="note"):
        tracking.connect(second, dispatch_uid="note")


def test_a_dispatch_uid_resolves_a_name_conflict(tracking: ReceiverSignal) -> None:
    one, other = closure(), closure()
    tracking.connect(one)
    tracking.connect(other, dispatch_uid="other")
    assert len(names(tracking)) == 2


def test_connecting_the_same_function_twice_is_idempotent(tracking: ReceiverSignal) -> None:
    tracking.connect(first)
    tracking.connect(first)
    assert names(tracking) == [f"{HERE}.first"]


def test_connecting_the_same_method_twice_is_idempotent(tracking: ReceiverSignal) -> None:
    shop = Shop()
    tracking.connect(shop.note)
    tracking.connect(shop.note)
    assert len(names(tracking)) == 1


def test_a_recreated_closure_with_the_same_dispatch_uid_is_ignored(tracking: ReceiverSignal) -> None:
    one, again = closure(), closure()
    tracking.connect(one, dispatch_uid="once")
    tracking.connect(again, dispatch_uid="once")
    assert tracking.named_receivers(None) == [NamedReceiver("once", one)]


def test_a_function_for_two_senders_is_called_once(tracking: ReceiverSignal) -> None:
    tracking.connect(first, sender=Shop)
    tracking.connect(first)
    assert names(tracking, Shop) == [f"{HERE}.first"]


@pytest.mark.parametrize("nameless", [partial(first, extra=1), Shop()], ids=["partial", "object"])
def test_a_nameless_receiver_requires_a_dispatch_uid(
    tracking: ReceiverSignal, nameless: Callable[..., object]
) -> None:
    with pytest.raises(ValueError, match=r"no name.*dispatch_uid='\.\.\.'"):
        tracking.connect(nameless)
    tracking.connect(nameless, dispatch_uid="named")
    assert tracking.named_receivers(None) == [NamedReceiver("named", nameless)]


def test_a_garbage_collected_receiver_frees_its_name(tracking: ReceiverSignal) -> None:
    gone = closure()
    tracking.connect(gone)
    del gone
    gc.collect()
    assert names(tracking) == []
    successor = closure()
    tracking.connect(successor)
    assert tracking.named_receivers(None)[0].call is successor


def test_a_strongly_referenced_receiver_stays_connected(tracking: ReceiverSignal) -> None:
    tracking.connect(closure(), weak=False)
    gc.collect()
    assert len(names(tracking)) == 1


def test_a_disconnected_receiver_is_no_longer_listed(tracking: ReceiverSignal) -> None:
    tracking.connect(first)
    tracking.connect(second, dispatch_uid="second")
    assert tracking.disconnect(first)
    assert tracking.disconnect(dispatch_uid="second")
    assert names(tracking) == []


def test_a_receiver_of_one_sender_is_not_called_for_another(tracking: ReceiverSignal) -> None:
    tracking.connect(first, sender=Shop)
    tracking.connect(second)
    assert names(tracking, Shop) == [f"{HERE}.first", f"{HERE}.second"]
    assert names(tracking, int) == [f"{HERE}.second"]
    assert names(tracking) == [f"{HERE}.second"]


def test_an_async_receiver_is_wrapped_for_a_synchronous_call(tracking: ReceiverSignal) -> None:
    tracking.connect(asynchronous)
    ((name, call),) = tracking.named_receivers(None)
    assert name == f"{HERE}.asynchronous"
    assert call(event="came") == "came"


def test_djangos_send_calls_an_async_receiver(tracking: ReceiverSignal) -> None:
    tracking.connect(asynchronous)
    assert tracking.send(None, event="came") == [(asynchronous, "came")]
