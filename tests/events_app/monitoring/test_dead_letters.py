"""The errors behind the newest dead letters: by receiver and type, and without a word of a message."""

import traceback
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.monitoring import dead_letters
from events_app.monitoring.dead_letters import exception_type, read_errors
from tests.support.events.stored_events import add_pending, open_event, store_done

with_database = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


class OutOfStock(Exception):
    """An error of a shop."""


def traceback_of(raises: Callable[[], object]) -> str:
    try:
        raises()
    except Exception:  # noqa: BLE001
        return traceback.format_exc()
    raise AssertionError("nothing was raised")


def sell(message: str = "") -> None:
    raise OutOfStock(message) if message else OutOfStock


def sell_after_an_error() -> None:
    try:
        int("ann@example.com")
    except ValueError:
        sell("ann@example.com")


@with_database
def test_the_newest_dead_letters_are_counted_by_receiver_and_error(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "MOST", 4)
    oldest, *pks, waiting = store_done(*(open_event(f"A{number}") for number in range(6)))
    sold, counted = traceback_of(sell), traceback_of(lambda: int("ann@example.com"))
    add_pending(oldest, state="dead", receivers={"shop": sold})
    for pk, receivers in zip(
        pks, ({"shop": sold}, {"shop": sold, "crm": counted}, {"new": ""}, {}), strict=True
    ):
        add_pending(pk, state="dead", receivers=receivers)
    add_pending(waiting, receivers={"shop": sold})
    shop_error = f"{OutOfStock.__module__}.OutOfStock"
    assert [(*reading.labels, reading.value) for reading in read_errors()] == [
        ("events", "", "unreadable", 1),
        ("events", "crm", "ValueError", 1),
        ("events", "shop", shop_error, 2),
    ]


@pytest.mark.parametrize(
    "fails", [sell, sell_after_an_error, lambda: sell("DETAIL:  Key (ann)\nann@example.com: x")]
)
def test_the_type_is_that_of_the_last_exception(fails: Callable[[], object]) -> None:
    assert exception_type(traceback_of(fails)) == f"{OutOfStock.__module__}.OutOfStock"


@given(st.text(min_size=1))
def test_no_message_is_taken_for_a_type(message: str) -> None:
    assert exception_type(traceback_of(lambda: sell(message))).rpartition(".")[2] == "OutOfStock"


@given(st.text())
def test_a_text_without_a_frame_has_no_known_type(text: str) -> None:
    assert exception_type(text.replace("File", "")) == "unknown"
