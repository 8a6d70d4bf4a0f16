"""A signal whose receivers have names, so that one can be called again without the others."""

import weakref
from collections.abc import Callable, Hashable, Iterator
from typing import NamedTuple

from asgiref.sync import async_to_sync
from django.dispatch import Signal


class NamedReceiver(NamedTuple):
    """A connected receiver and the name its failures are filed under."""

    name: str
    call: Callable[..., object]


class ReceiverSignal(Signal):
    """A signal whose receivers have names, so that one can be called again without the others.

    A receiver's name is its `dispatch_uid`, else its module and qualified name.
    """

    def connect(
        self,
        receiver: Callable[..., object],
        sender: object = None,
        weak: bool = True,
        dispatch_uid: Hashable | None = None,
    ) -> None:
        """Connect as Django does.

        Raises ValueError where the receiver has no name of its own: nothing could tell
        its failures from those of the receiver that has the name already.
        """
        name = _name(receiver, dispatch_uid)
        for taken, other, _, _ in self._connected():
            # The same function again under its dispatch_uid is Django's own way to say
            # "once only" (ready() called twice, a module imported by two paths).
            again = other == receiver or (dispatch_uid is not None and _path(other) == _path(receiver))
            if taken == name and not again:
                raise ValueError(
                    f"Another receiver is connected under the name {name!r}. "
                    "Give this one a name of its own: connect(..., dispatch_uid='...')."
                )
        super().connect(receiver, sender=sender, weak=weak, dispatch_uid=dispatch_uid)

    def named_receivers(self, sender: object) -> list[NamedReceiver]:
        """The living receivers for `sender` in the order they were connected, one per name."""
        named = {
            name: NamedReceiver(name, async_to_sync(target) if is_async else target)  # type: ignore[arg-type]
            for name, target, wanted, is_async in self._connected()
            if wanted in (id(None), id(sender))
        }
        return list(named.values())

    def _connected(self) -> Iterator[tuple[str, Callable[..., object], int, bool]]:
        # `Signal.receivers` is documented in its docstring as internal: Django 5.2 keeps
        # (key, receiver, is_async), 6.1 (key, receiver, sender, is_async). A test on both
        # grounds tells when that changes.
        for (uid, sender_id), ref, *_, is_async in self.receivers:
            target = ref() if isinstance(ref, weakref.ReferenceType) else ref
            if target is not None:
                named_by_django = uid in (id(target), _bound_id(target))
                yield _name(target, None if named_by_django else uid), target, sender_id, is_async


def _bound_id(receiver: Callable[..., object]) -> tuple[int, int] | None:
    if hasattr(receiver, "__func__"):
        return id(receiver.__self__), id(receiver.__func__)  # type: ignore[attr-defined]
    return None


def _path(receiver: Callable[..., object]) -> str | None:
    qualname = getattr(receiver, "__qualname__", None)
    return f"{receiver.__module__}.{qualname}" if qualname else None


def _name(receiver: Callable[..., object], dispatch_uid: Hashable | None) -> str:
    name = _path(receiver) if dispatch_uid is None else str(dispatch_uid)
    if not name:
        raise ValueError(
            f"{type(receiver).__name__} objects have no name a failure could be filed under: "
            "connect this receiver with dispatch_uid='...'."
        )
    return name
