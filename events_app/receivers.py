"""The connections of a signal, each with the receiver's name. Failures are recorded by name.

A worker finds the receiver to retry by its name, so web and all workers must give a receiver the same name.
"""

import re
import sys
import weakref
from collections.abc import Callable, Collection, Hashable
from functools import partial
from pathlib import Path
from typing import Any, Self

from django.dispatch import Signal

from events_app.routes import Route

Receiver = Callable[..., object]

#: The default text of an object, which is different in each process.
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


class Connection(tuple[Any, ...]):
    """A connection in Django's `Signal.receivers`: Django's tuple, with the receiver's name.

    The name belongs to the tuple, so the name lives as long as the connection, also where a test empties
    `Signal.receivers` and restores the list.
    """

    #: Unique to the receiver among the connections of its signal.
    name: str
    #: The name that the receiver would have alone; None with a `dispatch_uid`.
    base: str | None
    #: The recipients of an `inbound` receiver; None without `to`.
    route: Route | None

    def __new__(cls, entry: tuple[Any, ...], name: str, base: str | None, route: Route | None) -> Self:
        connection = super().__new__(cls, entry)
        connection.name, connection.base, connection.route = name, base, route
        return connection

    # The docstring of `Signal.receivers` calls the list internal: Django 5.2 keeps (key, receiver, is_async),
    # 6.1 (key, receiver, sender, is_async). A key is the dispatch_uid or the receiver's id, and the sender's
    # id. Tests run on both versions.

    @property
    def receiver_key(self) -> Hashable:
        """Django's key of the receiver: its `dispatch_uid` or id."""
        key: Hashable = self[0][0]
        return key

    @property
    def sender_id(self) -> int:
        """The id of the sender, or of None for all senders."""
        sender_id: int = self[0][1]
        return sender_id

    @property
    def receiver(self) -> Receiver | None:
        """The receiver; None if garbage-collected."""
        receiver: Receiver | None = self[1]() if isinstance(self[1], weakref.ReferenceType) else self[1]
        return receiver

    @property
    def is_numbered(self) -> bool:
        """Whether the name ends with a number, because another receiver has the name without."""
        return self.base is not None and self.name != self.base


def receiver_key(receiver: Receiver, dispatch_uid: Hashable | None) -> Hashable:
    """The part of Django's key for the receiver."""
    if dispatch_uid:
        return dispatch_uid
    # As Django's _make_id: a bound method is a new object at each access.
    if hasattr(receiver, "__func__"):
        return (id(getattr(receiver, "__self__", None)), id(receiver.__func__))
    return id(receiver)


def stable_text(dispatch_uid: Hashable | None) -> str | None:
    """The text of a `dispatch_uid`, if equal in all processes; None if not, or without a `dispatch_uid`."""
    text = str(dispatch_uid) if dispatch_uid else ""
    return None if not text or _ADDRESS.search(text) else text


def own_path(receiver: object) -> str | None:
    """The module and qualified name of a function, method or class; None for other objects."""
    qualname, module = getattr(receiver, "__qualname__", None), getattr(receiver, "__module__", None)
    if not (isinstance(qualname, str) and qualname):
        return None
    return f"{module}.{qualname}" if isinstance(module, str) and module else qualname


def base_name(receiver: Receiver) -> str:
    """The receiver's path; the path of the wrapped function of a partial, or of the class of an object."""
    return own_path(_definition(receiver)) or type(receiver).__qualname__


def names_of(signal: Signal) -> list[str]:
    """The names of the receivers of a signal of Django's kind: a `dispatch_uid`, or the receiver's path."""
    connections = [Connection(entry, "", None, None) for entry in signal.receivers]
    return [
        connection.receiver_key
        if isinstance(connection.receiver_key, str)
        else base_name(connection.receiver)
        for connection in connections
        if connection.receiver is not None
    ]


def numbered(name: str, taken: Collection[str]) -> str:
    """The name, or with the first free number: "name#2"."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}#{number}"
    return free


def is_same(receiver: Receiver, other: Receiver) -> bool:
    """Whether the two are equal, or made by one definition, perhaps of a module imported by two paths."""
    return receiver == other or _origin(receiver) == _origin(other)


def _definition(receiver: object) -> object:
    while isinstance(receiver, partial) and not own_path(receiver):
        receiver = receiver.func
    return receiver if own_path(receiver) else type(receiver)


def _origin(receiver: Receiver) -> tuple[object, str | None]:
    """The file and the qualified name of the definition."""
    defined = _definition(receiver)
    module = getattr(defined, "__module__", None)
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    return (Path(file).resolve() if file else module, getattr(defined, "__qualname__", None))
