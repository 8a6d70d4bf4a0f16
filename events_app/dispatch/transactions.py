"""Guards around receivers: a transaction left open or broken by a receiver never reaches the next."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, InterfaceError, OperationalError, connections, transaction
from django.db.transaction import TransactionManagementError

_WENT_ON = (
    "The receiver went on after a database error in a transaction. Its writes were rolled back. "
    "To handle a database error, put the statement into transaction.atomic()."
)


class TransactionLost(Exception):
    """The transaction around the receivers cannot be committed."""


class Outside:
    """Guard of a receiver called outside a transaction: roll back a transaction left open.

    Raises TransactionManagementError then, unless the receiver itself raised. A transaction that was open
    before, as in Django's TestCase, stays open and usable: if the receiver broke it, its writes are rolled
    back.
    """

    def __init__(self) -> None:
        self._before = _open_transactions()

    def __enter__(self) -> None:
        made = {alias: connections[alias].savepoint() for alias in self._before}
        self._savepoints = {alias: savepoint for alias, savepoint in made.items() if savepoint}

    def __exit__(self, raised: type[BaseException] | None, *_: object) -> None:
        intact = [_leave_savepoint(alias, savepoint) for alias, savepoint in self._savepoints.items()]
        left_open = _open_transactions() - self._before
        for alias in left_open:
            reset(alias)
        if left_open and raised is None:
            raise TransactionManagementError(
                "The receiver returned in the middle of a transaction, which was rolled back."
            )
        if not all(intact) and raised is None:
            raise TransactionManagementError(_WENT_ON)


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
                raise TransactionManagementError(_WENT_ON)
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


def _leave_savepoint(alias: str, savepoint: str) -> bool:
    """Whether the transaction is intact. A broken transaction is rolled back to the savepoint."""
    connection = connections[alias]
    if connection.closed_in_transaction:
        return False  # nothing is left to roll back
    if not connection.needs_rollback:
        try:
            connection.savepoint_commit(savepoint)
        except DatabaseError:  # PostgreSQL accepts nothing but a rollback after an error
            pass
        else:
            return True
    connection.needs_rollback = False
    connection.savepoint_rollback(savepoint)
    connection.savepoint_commit(savepoint)
    return False


def _open_transactions() -> set[str]:
    return {
        connection.alias
        for connection in connections.all(initialized_only=True)
        if connection.connection is not None and (connection.in_atomic_block or not connection.autocommit)
    }
