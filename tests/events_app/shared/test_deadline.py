"""A caller gets a result, an exception, or its time back."""

import os
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from devstack.process import wait_for
from events_app.shared import deadline
from events_app.shared.deadline import DeadlineExceeded, Threads

#: Seconds that no test waits for.
LONG = 60.0


class Gate:
    """A call that returns when it is told to."""

    def __init__(self) -> None:
        self._open = threading.Event()

    def __call__(self) -> str:
        self._open.wait()
        return threading.current_thread().name

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    found = Gate()
    yield found
    found.open()


def all_are_back(threads: Threads) -> None:
    wait_for(lambda: not threads.late, seconds=LONG, what="the late call returns")


@pytest.mark.parametrize("seconds", [0, -0.004])
def test_a_deadline_that_is_over_raises_deadline_exceeded(gate: Gate, seconds: float) -> None:
    # A caller with several calls may have used up its time in an earlier one.
    threads = Threads("late", 2)
    with pytest.raises(DeadlineExceeded):
        threads.run(gate, seconds)
    gate.open()
    all_are_back(threads)


def alive(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())


def test_a_call_returns_its_result_or_raises_its_error() -> None:
    threads = Threads("test", 1)
    assert threads.run(lambda: 17, LONG) == 17
    with pytest.raises(ZeroDivisionError):
        threads.run(lambda: 1 / 0, LONG)
    assert threads.run(lambda: None, LONG) is None


def test_sequential_calls_share_one_thread() -> None:
    threads = Threads("test", 1)
    assert len({threads.run(threading.get_ident, LONG) for _ in range(10)} - {threading.get_ident()}) == 1


def test_a_call_that_does_not_return_times_out(gate: Gate) -> None:
    threads = Threads("test", 2)
    with pytest.raises(DeadlineExceeded):
        threads.run(gate, 0.01)
    assert threads.late == 1
    assert threads.run(lambda: 17, LONG) == 17
    gate.open()
    all_are_back(threads)


def test_no_call_is_made_while_all_threads_hang(gate: Gate) -> None:
    threads = Threads("test", 2)
    for _ in range(2):
        with pytest.raises(DeadlineExceeded):
            threads.run(gate, 0.01)
    with pytest.raises(DeadlineExceeded):
        threads.run(lambda: pytest.fail("it was made"), LONG)
    gate.open()
    all_are_back(threads)
    assert threads.run(lambda: 17, LONG) == 17


def test_a_timed_out_thread_ends_with_its_call(gate: Gate) -> None:
    threads = Threads("given up", 1)
    with pytest.raises(DeadlineExceeded):
        threads.run(gate, 0.01)
    gate.open()
    wait_for(lambda: not alive("given up"), seconds=LONG, what="the thread ends")


def test_an_idle_thread_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "_IDLE", 0.01)
    threads = Threads("idle", 1)
    threads.run(lambda: None, LONG)
    wait_for(lambda: not alive("idle"), seconds=LONG, what="the thread ends")
    assert threads.run(lambda: 17, LONG) == 17


def test_concurrent_callers_get_their_own_results() -> None:
    threads = Threads("test", 1)
    found: list[bool] = []

    def ask(number: int) -> None:
        for at in range(number, number + 200):
            found.append(threads.run(partial(int, at), LONG) == at)  # noqa: PERF401

    callers = [threading.Thread(target=ask, args=(number * 1000,)) for number in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert found == [True] * 1600


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_starts_its_own_threads(gate: Gate) -> None:
    threads = Threads("test", 1)
    threads.run(lambda: None, LONG)
    with pytest.raises(DeadlineExceeded):
        threads.run(gate, 0.01)
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if (threads.late, threads.run(lambda: 17, LONG)) == (0, 17) else 1
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
