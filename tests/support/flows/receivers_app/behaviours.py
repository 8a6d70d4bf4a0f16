"""Behaviours of a receiver, ordered by a test.

Each takes a function that says whether the order still stands.
"""

import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress

from django.db import DatabaseError, connection, transaction

from devstack.process import wait_for

#: An address that no log may have.
TELLTALE = "tell.tale@example.com"


class Disaster(BaseException):
    """No `Exception`: `except Exception` lets it through."""


def fail(_: Callable[[], bool]) -> None:
    raise ValueError("as ordered")


def fail_with_an_address(_: Callable[[], bool]) -> None:
    """Print an address, then raise it in a text that would like to be a log line."""
    print(f"to {TELLTALE}")  # noqa: T201
    print(f"to {TELLTALE}", file=sys.stderr)  # noqa: T201
    raise ValueError(f"no {TELLTALE}\n2026-01-01 00:00:00,000 ERROR bank: forged")


def raise_what_is_no_exception(_: Callable[[], bool]) -> None:
    raise Disaster("as ordered")


def leave(_: Callable[[], bool]) -> None:
    sys.exit("as ordered")


def take_the_process_down(_: Callable[[], bool]) -> None:
    os._exit(1)


def hold(stands: Callable[[], bool]) -> None:
    """Wait until the test lets go."""
    wait_for(lambda: not stands(), seconds=150, what="the test lets go")


def hold_whatever_comes(stands: Callable[[], bool]) -> None:
    """Wait like a call into C that nothing interrupts: at the hard limit billiard first asks to leave."""
    while stands():
        with suppress(BaseException):
            hold(stands)


def hold_the_interpreter(_: Callable[[], bool]) -> None:
    """Stay in C with the GIL: a regular expression that backtracks for ever. No other thread runs."""
    re.match("(a+)+$", "a" * 100 + "b")


def leave_a_transaction_open(_: Callable[[], bool]) -> None:
    transaction.atomic().__enter__()


def leave_autocommit_off(_: Callable[[], bool]) -> None:
    transaction.set_autocommit(False)


def go_on_after_a_database_error(_: Callable[[], bool]) -> None:
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute("SELECT * FROM nowhere")
