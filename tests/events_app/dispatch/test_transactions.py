"""A receiver that breaks a transaction harms no other receiver."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from typing import TypeAlias

import pytest
from django.db import (
    DatabaseError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connections,
    transaction,
)
from django.db.transaction import TransactionManagementError

from events_app.dispatch import transactions
from events_app.dispatch.transactions import TransactionLost
from example_app.models import Bounce
from tests.support.databases import on_postgresql, terminate_connection

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


@pytest.fixture(autouse=True)
def whole_again() -> Iterator[None]:
    """No transaction of one test reaches into the next."""
    yield
    for alias in connections:
        transactions.reset(alias)


#: What a receiver does to the database of that name.
Deed: TypeAlias = Callable[[str], object]


def writes(recipient: str) -> Deed:
    return lambda database: Bounce.objects.using(database).create(recipient=recipient)


def fails(_: str) -> None:
    raise RuntimeError("the shop is closed")


def call(guard: AbstractContextManager[None], database: str, *deeds: Deed) -> None:
    """Be a receiver that does all this, inside of `guard`."""
    with guard:
        for deed in deeds:
            deed(database)


def written(database: str) -> list[str]:
    """What another connection sees."""
    transactions.reset(database)
    return sorted(Bounce.objects.using(database).values_list("recipient", flat=True))


def is_free(database: str) -> bool:
    """Whether the connection is in no transaction, and works."""
    connection = connections[database]
    writes("still works")(database)
    return (
        connection.get_autocommit() and not connection.in_atomic_block and "still works" in written(database)
    )


def violate(database: str) -> None:
    """Write what a constraint of the database's refuses."""
    Bounce.objects.using(database).create(recipient=None)  # type: ignore[misc]


def swallow(database: str) -> None:
    with suppress(IntegrityError):
        violate(database)


def fail_in_sql(database: str) -> None:
    with suppress(DatabaseError), connections[database].cursor() as cursor:
        cursor.execute("SELECT nonsense")


# Ways to leave a transaction open


def enter_atomic(database: str) -> None:
    transaction.atomic(using=database).__enter__()


def turn_autocommit_off(database: str) -> None:
    transaction.set_autocommit(False, using=database)


OPEN = [enter_atomic, turn_autocommit_off]


# Ways to tear ours


def close(database: str) -> None:
    connections[database].close()


def commit(database: str) -> None:
    with connections[database].cursor() as cursor:
        cursor.execute("COMMIT")


def roll_back(database: str) -> None:
    with connections[database].cursor() as cursor:
        cursor.execute("ROLLBACK")


# Outside of a transaction


def in_a_transaction(database: str) -> None:
    call(transaction.atomic(using=database), database, writes("other"))


def test_writes_outside_or_in_a_finished_transaction_are_kept(database: str) -> None:
    call(transactions.Outside(), database, writes("one"), in_a_transaction)
    assert written(database) == ["one", "other"]


@pytest.mark.parametrize("leave_open", OPEN)
def test_an_open_transaction_is_rolled_back_with_an_error(database: str, leave_open: Deed) -> None:
    with pytest.raises(TransactionManagementError, match="in the middle of a transaction"):
        call(transactions.Outside(), database, writes("before"), leave_open, writes("inside"))
    assert written(database) == ["before"]
    assert is_free(database)


@pytest.mark.parametrize("leave_open", OPEN)
def test_an_open_transaction_is_rolled_back_in_a_database_in_memory(
    monkeypatch: pytest.MonkeyPatch, leave_open: Deed
) -> None:
    # Django does not close such a database, which most projects have in their tests on SQLite.
    monkeypatch.setattr(connections["default"], "is_in_memory_db", lambda: True)
    with pytest.raises(TransactionManagementError, match="in the middle of a transaction"):
        call(transactions.Outside(), "default", writes("before"), leave_open, writes("inside"))
    assert connections["default"].get_autocommit()
    in_a_transaction("default")
    monkeypatch.undo()
    assert written("default") == ["before", "other"]


@pytest.mark.parametrize("leave_open", OPEN)
def test_a_receiver_that_raises_in_an_open_transaction_keeps_its_own_error(
    database: str, leave_open: Deed
) -> None:
    with pytest.raises(RuntimeError, match="the shop is closed"):
        call(transactions.Outside(), database, leave_open, writes("inside"), fails)
    assert written(database) == []
    assert is_free(database)


@on_postgresql
def test_open_transactions_on_other_databases_are_rolled_back(database: str) -> None:
    with pytest.raises(TransactionManagementError):
        call(transactions.Outside(), database, lambda _: enter_atomic("default"), writes("kept"))
    assert is_free("default")
    assert written(database) == ["kept"]


def test_a_transaction_opened_by_the_caller_is_left_alone(database: str) -> None:
    with transaction.atomic(using=database):
        call(transactions.Outside(), database, writes("one"))
        writes("other")(database)
    assert written(database) == ["one", "other"]


def enter_atomic_without_a_savepoint(database: str) -> None:
    transaction.atomic(using=database, savepoint=False).__enter__()


LEFT = [
    (("before", "other"), [enter_atomic]),
    (("before", "other"), [enter_atomic, enter_atomic]),
    (("before", "other"), [enter_atomic, fail_in_sql]),
    # No savepoint tells the writes before the block from those inside.
    (("other",), [enter_atomic_without_a_savepoint]),
]


@pytest.mark.parametrize(("kept", "deeds"), LEFT)
def test_blocks_left_open_in_a_transaction_of_the_caller_are_rolled_back(
    database: str, kept: tuple[str, ...], deeds: list[Deed]
) -> None:
    with transaction.atomic(using=database):
        blocks = list(connections[database].atomic_blocks)
        with pytest.raises(TransactionManagementError, match="in the middle of a transaction"):
            call(transactions.Outside(), database, writes("before"), *deeds[:1], writes("inside"), *deeds[1:])
        with pytest.raises(RuntimeError, match="the shop is closed"):
            call(transactions.Outside(), database, *deeds[:1], writes("inside"), *deeds[1:], fails)
        assert connections[database].savepoint_ids == []
        assert connections[database].atomic_blocks == blocks
        writes("other")(database)
    assert written(database) == list(kept)


def test_a_receiver_may_close_the_connection(database: str) -> None:
    call(transactions.Outside(), database, writes("one"), close)
    assert is_free(database)


def test_a_broken_open_transaction_is_rolled_back(database: str) -> None:
    with pytest.raises(TransactionManagementError):
        call(transactions.Outside(), database, enter_atomic, fail_in_sql)
    assert is_free(database)


# Inside of one


def test_writes_inside_the_transaction_are_kept(database: str) -> None:
    with transaction.atomic(using=database):
        call(transactions.inside(database), database, writes("one"))
        call(transactions.inside(database), database, in_a_transaction)
    assert written(database) == ["one", "other"]


def test_only_the_writes_of_a_raising_receiver_are_rolled_back(database: str) -> None:
    with transaction.atomic(using=database):
        call(transactions.inside(database), database, writes("first"))
        with pytest.raises(RuntimeError, match="the shop is closed"):
            call(transactions.inside(database), database, writes("second"), fails)
        call(transactions.inside(database), database, writes("third"))
    assert written(database) == ["first", "third"]


def test_a_receiver_that_swallows_a_database_error_fails(database: str) -> None:
    with transaction.atomic(using=database):
        with pytest.raises(TransactionManagementError, match="went on after a database error"):
            call(transactions.inside(database), database, writes("first"), swallow)
        call(transactions.inside(database), database, writes("second"))
    assert written(database) == ["second"]


@on_postgresql
def test_a_receiver_that_swallows_an_error_known_only_to_postgresql_fails(database: str) -> None:
    with transaction.atomic(using=database):
        with pytest.raises(DatabaseError):
            call(transactions.inside(database), database, writes("first"), fail_in_sql)
        call(transactions.inside(database), database, writes("second"))
    assert written(database) == ["second"]


def test_a_database_error_in_the_receivers_own_savepoint_is_no_failure(database: str) -> None:
    def fail_in_a_savepoint(database: str) -> None:
        with pytest.raises(IntegrityError):
            call(transaction.atomic(using=database), database, violate)

    with transaction.atomic(using=database):
        call(transactions.inside(database), database, writes("first"), fail_in_a_savepoint, writes("second"))
    assert written(database) == ["first", "second"]


@pytest.mark.parametrize("then", [[], [enter_atomic], [fail_in_sql]])
def test_only_the_writes_of_a_receiver_that_leaves_a_block_open_are_rolled_back(
    database: str, then: list[Deed]
) -> None:
    with transaction.atomic(using=database):
        call(transactions.inside(database), database, writes("first"))
        with pytest.raises(TransactionManagementError, match="in the middle of a transaction"):
            call(transactions.inside(database), database, enter_atomic, writes("second"), *then)
        with pytest.raises(RuntimeError, match="the shop is closed"):
            call(transactions.inside(database), database, enter_atomic, writes("second"), *then, fails)
        call(transactions.inside(database), database, writes("third"))
    assert written(database) == ["first", "third"]
    assert is_free(database)


PIECES = [close, commit, roll_back]


@pytest.mark.parametrize("tear", PIECES)
@pytest.mark.parametrize("then", [writes("after"), fails], ids=["goes on", "raises"])
def test_a_receiver_that_ends_the_outer_transaction_raises_transaction_lost(
    database: str, tear: Deed, then: Deed
) -> None:
    def receiver(database: str) -> None:
        with suppress(DatabaseError, InterfaceError):
            tear(database)
            then(database)

    def ours(database: str) -> None:
        call(transactions.inside(database), database, receiver)

    with pytest.raises(TransactionLost):
        call(transaction.atomic(using=database), database, writes("before"), ours)
    # COMMIT cannot be taken back.
    assert ("before" in written(database)) is (tear is commit)
    assert is_free(database)


# The connection


@on_postgresql
def test_a_connection_is_lost_only_when_the_server_closed_it(database: str) -> None:
    connections[database].close()
    assert not transactions.is_connection_lost(database)
    terminate_connection(database)
    with pytest.raises(OperationalError):
        writes("one")(database)
    assert transactions.is_connection_lost(database)
    transactions.reset(database)
    assert not transactions.is_connection_lost(database)


def test_a_connection_closed_by_a_receiver_is_not_lost(database: str) -> None:
    with suppress(TransactionManagementError), transaction.atomic(using=database):
        connections[database].close()
        assert not transactions.is_connection_lost(database)
    transactions.reset(database)
