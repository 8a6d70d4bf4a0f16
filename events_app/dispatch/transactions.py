"""Guards around receivers: a transaction left open or broken by a receiver never reaches the next."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.transaction import TransactionManagementError


class TransactionLost(Exception):
    """The transaction around the receivers cannot be committed."""


class Outside:
    """Guard of a receiver called outside a transaction: roll back a transaction left open.

    Raises TransactionManagementError then, unless the receiver itself raised.
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
                "The receiver returned in the middle of a transaction, which was rolled back."
            )


@contextmanager
def inside(using: str) -> Iterator[None]:
    """Guard of a receiver called inside our transaction: roll back the writes of a failed receiver.

    Raises TransactionManagementError when the receiver went on after a database error, and TransactionLost
    when the transaction cannot go on.
    """
    connection = connections[using]
    depth = len(connection.savepoint_ids)
    try:
        with transaction.atomic(using=using):
            yield
            if connection.needs_rollback and not connection.closed_in_transaction:
                # Django would roll back silently.
                raise TransactionManagementError(
                    "The receiver went on after a database error. Its writes were rolled back."
                )
    finally:
        is_intact = connection.in_atomic_block and len(connection.savepoint_ids) == depth
        if not is_intact or connection.needs_rollback or connection.closed_in_transaction:
            raise TransactionLost("The receiver broke the transaction.")


def is_connection_lost(using: str) -> bool:
    """Whether the server closed the connection, or cannot be reached."""
    connection = connections[using]
    if connection.closed_in_transaction:
        return False  # a receiver closed it
    if connection.connection is None:
        try:
            connection.ensure_connection()
        except (OperationalError, InterfaceError):
            return True
    return bool(getattr(connection.connection, "closed", False))


def reset(using: str) -> None:
    """Abandon the open transaction; the next query makes a new connection."""
    connection = connections[using]
    connection.in_atomic_block = connection.closed_in_transaction = False
    connection.close()


def _open_transactions() -> set[str]:
    return {
        connection.alias
        for connection in connections.all(initialized_only=True)
        if connection.connection is not None and (connection.in_atomic_block or not connection.autocommit)
    }
