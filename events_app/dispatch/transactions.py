"""Guards around receivers: a transaction left open or broken by a receiver never reaches the next."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, InterfaceError, OperationalError, connections, transaction
from django.db.transaction import TransactionManagementError

_LEFT_OPEN = "The receiver returned in the middle of a transaction, which was rolled back."

_WENT_ON = (
    "The receiver went on after a database error in a transaction. Its writes were rolled back. "
    "To handle a database error, put the statement into transaction.atomic()."
)


class TransactionLost(Exception):
    """The transaction around the receivers cannot be committed."""


class Outside:
    """Guard of a receiver called outside a transaction: roll back a transaction left open.

    Raises TransactionManagementError then, unless the receiver itself raised. A transaction that was open
    before, as in Django's TestCase, stays open and usable: atomic blocks that the receiver left open are
    rolled back, and if the receiver broke the transaction, all its writes are.
    """

    def __init__(self) -> None:
        self._before = _open_transactions()

    def __enter__(self) -> None:
        made = {alias: connections[alias].savepoint() for alias in self._before}
        self._savepoints = {alias: savepoint for alias, savepoint in made.items() if savepoint}
        self._depths = {alias: len(connections[alias].savepoint_ids) for alias in self._savepoints}

    def __exit__(self, raised: type[BaseException] | None, *_: object) -> None:
        left_blocks = [
            _end_atomic_blocks(alias, self._depths[alias], savepoint)
            for alias, savepoint in self._savepoints.items()
        ]
        intact = [_leave_savepoint(alias, savepoint) for alias, savepoint in self._savepoints.items()]
        left_open = _open_transactions() - self._before
        for alias in left_open:
            reset(alias)
        if (left_open or any(left_blocks)) and raised is None:
            raise TransactionManagementError(_LEFT_OPEN)
        if not all(intact) and raised is None:
            raise TransactionManagementError(_WENT_ON)


@contextmanager
def inside(using: str) -> Iterator[None]:
    """Guard of a receiver called inside our transaction: roll back the writes of a failed receiver.

    Raises TransactionManagementError when the receiver went on after a database error or left an atomic block
    open, and TransactionLost when the transaction cannot go on.
    """
    connection = connections[using]
    depth = len(connection.savepoint_ids)
    try:
        with transaction.atomic(using=using):
            savepoint = connection.savepoint_ids[depth]
            try:
                yield
            finally:
                left_block = _end_atomic_blocks(using, depth + 1, savepoint)
            if left_block:
                raise TransactionManagementError(_LEFT_OPEN)
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
    if connection.connection is not None:  # Django never closes SQLite's database in memory, as in tests
        connection.savepoint_ids, connection.atomic_blocks = [], []
        connection.needs_rollback = False
        connection.rollback()
        connection.set_autocommit(True)


def _end_atomic_blocks(alias: str, depth: int, savepoint: str) -> bool:
    """Roll back the atomic blocks inside the transaction that are still open; whether there were any.

    `savepoint` was made before the blocks, with `depth` blocks around it.
    """
    connection = connections[alias]
    left = connection.savepoint_ids[depth:]
    if not left or connection.closed_in_transaction:
        return False
    del connection.savepoint_ids[depth:]
    del connection.atomic_blocks[-len(left) :]
    connection.needs_rollback = False
    connection.savepoint_rollback(left[0] or savepoint)  # None: atomic(savepoint=False)
    return True


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
