"""What a receiver may do to a transaction, and how it is kept from the receivers after it."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError


class TransactionLost(Exception):
    """Nothing that was written in our transaction will be kept."""


class Outside:
    """Around each receiver that is called in no transaction. One that it leaves open is undone.

    Raises TransactionManagementError then, unless the receiver has raised by itself.
    """

    def __init__(self) -> None:
        self._before = _open_transactions()

    def __enter__(self) -> None:
        pass

    def __exit__(self, raised: type[BaseException] | None, *_: object) -> None:
        left_open = _open_transactions() - self._before
        for alias in left_open:
            reset(alias)
        if left_open and raised is None:
            raise TransactionManagementError(
                "The receiver returned in the middle of a transaction. What it wrote there is undone."
            )


@contextmanager
def inside(using: str) -> Iterator[None]:
    """Around a receiver that is called in a transaction: what it wrote stays only if it succeeds.

    Raises TransactionManagementError where it went on after a database error, and TransactionLost
    where the transaction cannot go on.
    """
    connection = connections[using]
    depth = len(connection.savepoint_ids)
    try:
        with transaction.atomic(using=using):
            yield
            if connection.needs_rollback and not connection.closed_in_transaction:
                # Django would undo it and say nothing.
                raise TransactionManagementError(
                    "The receiver went on after a database error. What it wrote is undone."
                )
    finally:
        whole = connection.in_atomic_block and len(connection.savepoint_ids) == depth
        if not whole or connection.needs_rollback or connection.closed_in_transaction:
            raise TransactionLost("The receiver left the transaction in pieces.")


def is_connection_lost(using: str) -> bool:
    """Whether the server has hung up on us, or cannot be reached."""
    connection = connections[using]
    if connection.closed_in_transaction:
        return False  # a receiver's doing
    if connection.connection is None:
        try:
            connection.ensure_connection()
        except (OperationalError, InterfaceError):
            return True
    return bool(getattr(connection.connection, "closed", False))


def reset(using: str) -> None:
    """Leave whatever transaction there is; the next query makes a new connection."""
    connection = connections[using]
    connection.in_atomic_block = connection.closed_in_transaction = False
    connection.close()


def end_when_idle(using: str, milliseconds: int) -> None:
    """Let PostgreSQL end this transaction, and free its rows, when its process is heard of no more."""
    connection = connections[using]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('idle_in_transaction_session_timeout', %s, true)", [str(milliseconds)]
            )


def _open_transactions() -> set[str]:
    return {connection.alias for connection in connections.all(initialized_only=True) if _is_open(connection)}


def _is_open(connection: BaseDatabaseWrapper) -> bool:
    return connection.connection is not None and (connection.in_atomic_block or not connection.autocommit)
