"""Each receiver has a name of its own, and connects as to any signal of Django's."""

import gc
import sys
from collections.abc import Callable
from functools import partial, wraps
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock

import pytest
from django.dispatch import receiver

from events_app.signals import NamedReceiver, ReceiverSignal

HERE = __name__


class Shop:
    def note(self, **_: Any) -> None: ...

    def __call__(self, **_: Any) -> None: ...

    @classmethod
    def opened(cls, **_: Any) -> None: ...

    @staticmethod
    def closed(**_: Any) -> None: ...


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


def test_two_closures_of_one_name_are_numbered_in_the_order_of_connection(tracking: ReceiverSignal) -> None:
    one, other, third = closure(), closure(), closure()
    for each in (one, other, third):
        tracking.connect(each)
    name = f"{HERE}.closure.<locals>.inner"
    assert tracking.named_receivers(None) == [
        NamedReceiver(name, one),
        NamedReceiver(f"{name}#2", other),
        NamedReceiver(f"{name}#3", third),
    ]
    assert tracking.derived_names() == [name, f"{name}#2", f"{name}#3"]


def test_one_method_of_two_objects_has_two_names(tracking: ReceiverSignal) -> None:
    one, other = Shop(), Shop()
    tracking.connect(one.note)
    tracking.connect(other.note)
    assert names(tracking) == [f"{HERE}.Shop.note", f"{HERE}.Shop.note#2"]


def test_a_name_stays_while_other_receivers_come_and_go(tracking: ReceiverSignal) -> None:
    one, other, third = closure(), closure(), closure()
    tracking.connect(one)
    tracking.connect(other)
    tracking.disconnect(one)
    name = f"{HERE}.closure.<locals>.inner"
    assert names(tracking) == tracking.derived_names() == [f"{name}#2"]
    tracking.connect(other)
    tracking.connect(other, sender=Shop)
    assert names(tracking, Shop) == [f"{name}#2"]
    tracking.connect(third)
    assert tracking.named_receivers(None) == [NamedReceiver(f"{name}#2", other), NamedReceiver(name, third)]


def test_a_name_survives_an_emptied_and_restored_list_of_receivers(tracking: ReceiverSignal) -> None:
    one, other = closure(), closure()
    tracking.connect(one)
    tracking.connect(other)
    before, tracking.receivers = tracking.receivers, []
    tracking.connect(other)
    assert names(tracking) == [f"{HERE}.closure.<locals>.inner"]
    tracking.receivers = before
    assert tracking.named_receivers(None)[1] == NamedReceiver(f"{HERE}.closure.<locals>.inner#2", other)


@pytest.mark.parametrize(
    ("nameless", "name"),
    [
        (partial(first, extra=1), f"{HERE}.first"),
        (partial(partial(asynchronous, a=1), b=2), f"{HERE}.asynchronous"),
        (partial(Shop()), f"{HERE}.Shop"),
        (partial(Shop().note), f"{HERE}.Shop.note"),
        (Shop(), f"{HERE}.Shop"),
        (Mock(), "unittest.mock.Mock"),
        (MagicMock(), "unittest.mock.MagicMock"),
        (AsyncMock(), "unittest.mock.AsyncMock"),
    ],
)
def test_a_receiver_without_a_name_is_named_by_its_function_or_class(
    tracking: ReceiverSignal, nameless: Callable[..., object], name: str
) -> None:
    tracking.connect(nameless)
    assert names(tracking) == tracking.derived_names() == [name]
    tracking.disconnect(nameless)
    tracking.connect(nameless, dispatch_uid="named")
    assert tracking.named_receivers(None) == [NamedReceiver("named", nameless)]
    assert tracking.derived_names() == []


@pytest.mark.parametrize(
    ("named", "name"),
    [
        (Shop.opened, "Shop.opened"),
        (Shop.closed, "Shop.closed"),
        (wraps(first)(partial(second)), "first"),
    ],
)
def test_a_receiver_with_a_name_of_its_own_needs_no_derived_name(
    tracking: ReceiverSignal, named: Callable[..., object], name: str
) -> None:
    tracking.connect(named)
    assert names(tracking) == [f"{HERE}.{name}"]
    assert tracking.derived_names() == []


def test_a_derived_name_is_no_other_receivers_dispatch_uid(tracking: ReceiverSignal) -> None:
    one, other = closure(), closure()
    name = f"{HERE}.closure.<locals>.inner"
    tracking.connect(first, dispatch_uid=f"{name}#2")
    tracking.connect(one)
    tracking.connect(other)
    assert names(tracking) == [f"{name}#2", name, f"{name}#3"]
    with pytest.raises(ValueError, match="Another receiver"):
        tracking.connect(second, dispatch_uid=name)


def test_an_empty_dispatch_uid_is_none_as_in_django(tracking: ReceiverSignal) -> None:
    tracking.connect(first, dispatch_uid="")
    assert names(tracking) == [f"{HERE}.first"]
    assert tracking.disconnect(first)


def test_a_dispatch_uid_without_a_stable_text_is_no_name(tracking: ReceiverSignal) -> None:
    uid, other_uid = object(), object()
    tracking.connect(first, dispatch_uid=uid)
    tracking.connect(first, dispatch_uid=uid)
    tracking.connect(first, dispatch_uid=other_uid)
    tracking.connect(second, dispatch_uid=("shop", 2))
    assert names(tracking) == [f"{HERE}.first", f"{HERE}.first#2", "('shop', 2)"]
    assert tracking.derived_names() == [f"{HERE}.first", f"{HERE}.first#2"]
    assert tracking.disconnect(dispatch_uid=uid)


def test_a_module_imported_by_two_paths_connects_once_under_its_dispatch_uid(
    tracking: ReceiverSignal,
) -> None:
    spec = spec_from_file_location("other_path_of_receivers", __file__)
    assert spec is not None
    assert spec.loader is not None
    copy = module_from_spec(spec)
    sys.modules[spec.name] = copy
    try:
        spec.loader.exec_module(copy)
        for receivers in (
            (first, copy.first),
            (shop := Shop(), other := copy.Shop()),
            (shop.note, other.note),
        ):
            tracking.receivers = []
            for each in receivers:
                tracking.connect(each, dispatch_uid="once")
            assert tracking.named_receivers(None) == [NamedReceiver("once", receivers[0])]
            with pytest.raises(ValueError, match="'once'"):
                tracking.connect(copy.second, dispatch_uid="once")
    finally:
        del sys.modules[spec.name]


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


def test_a_garbage_collected_receiver_frees_its_name(tracking: ReceiverSignal) -> None:
    gone = closure()
    tracking.connect(gone)
    del gone
    gc.collect()
    assert names(tracking) == []
    successor = closure()
    tracking.connect(successor)
    assert tracking.named_receivers(None) == [NamedReceiver(f"{HERE}.closure.<locals>.inner", successor)]


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


def test_an_async_receiver_is_run_to_its_end(tracking: ReceiverSignal) -> None:
    tracking.connect(asynchronous)
    (named,) = tracking.named_receivers(None)
    assert named.name == f"{HERE}.asynchronous"
    assert named.call(event="came") == "came"


def test_djangos_send_calls_an_async_receiver(tracking: ReceiverSignal) -> None:
    tracking.connect(asynchronous)
    assert tracking.send(None, event="came") == [(asynchronous, "came")]
