"""Threads that write at the same time share a write, and no request fails for another."""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import DataError

from devstack.process import wait_for
from sending_app import group_commit
from sending_app.group_commit import GroupCommit


class Writer:
    """Doubles numbers. The first write lasts until `go_on` is set."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.started, self.go_on = threading.Event(), threading.Event()
        #: Raised by the next write after the first.
        self.interruption: Exception | None = None

    def write(self, numbers: Sequence[int]) -> list[int]:
        self.groups.append([*numbers])
        if not self.started.is_set():
            self.started.set()
            assert self.go_on.wait(20)
        elif self.interruption:
            interruption, self.interruption = self.interruption, None
            raise interruption
        if 0 in numbers:
            raise DataError
        return [2 * number for number in numbers]


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def group(writer: Writer) -> GroupCommit[int, int]:
    return GroupCommit(writer.write)


@contextmanager
def waiting(group: GroupCommit[int, int], writer: Writer, *numbers: int) -> Iterator[list[Future[int]]]:
    """A thread writes 100. Meanwhile a thread waits with each of the numbers. At the end all go on."""
    with ThreadPoolExecutor(len(numbers) + 1) as pool:
        first = pool.submit(group.submit, 100)
        assert writer.started.wait(20)
        futures = [pool.submit(group.submit, number) for number in numbers]
        wait_for(lambda: len(group._waiting) == len(numbers), seconds=20, what="the threads")
        yield futures
        writer.go_on.set()
    assert first.result() == 200


def outcome(future: Future[int]) -> Any:
    error = future.exception()
    return type(error) if error else future.result()


def test_a_single_thread_writes_each_request_alone(group: GroupCommit[int, int], writer: Writer) -> None:
    writer.go_on.set()
    assert [group.submit(number) for number in (1, 2, 3)] == [2, 4, 6]
    assert writer.groups == [[1], [2], [3]]


def test_waiting_threads_share_a_write(group: GroupCommit[int, int], writer: Writer) -> None:
    with waiting(group, writer, 1, 2, 3) as futures:
        pass
    assert [future.result() for future in futures] == [2, 4, 6]
    assert [sorted(numbers) for numbers in writer.groups] == [[100], [1, 2, 3]]


def test_a_refused_request_fails_alone(group: GroupCommit[int, int], writer: Writer) -> None:
    with waiting(group, writer, 1, 0, 3) as futures:
        pass
    assert [outcome(future) for future in futures] == [2, DataError, 6]
    assert [sorted(numbers) for numbers in writer.groups[:2]] == [[100], [0, 1, 3]]
    assert sorted(writer.groups[2:]) == [[0], [1], [3]]


def test_an_interrupted_writer_fails_alone(group: GroupCommit[int, int], writer: Writer) -> None:
    writer.interruption = SoftTimeLimitExceeded()
    with waiting(group, writer, 1, 2) as futures:
        pass
    outcomes = {outcome(future) for future in futures}
    assert SoftTimeLimitExceeded in outcomes
    assert outcomes - {SoftTimeLimitExceeded} < {2, 4}
    assert group.submit(5) == 10


def test_no_thread_writes_for_an_interrupted_thread(
    group: GroupCommit[int, int], writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Callable[[], bool]) -> None:
        raise SoftTimeLimitExceeded

    with waiting(group, writer, 1), monkeypatch.context() as patched:
        patched.setattr(group._changed, "wait_for", interrupt)
        with pytest.raises(SoftTimeLimitExceeded):
            group.submit(7)
    assert writer.groups == [[100], [1]]


def test_a_writer_interrupted_before_its_write_takes_its_request_back(
    group: GroupCommit[int, int], writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise SoftTimeLimitExceeded

    with waiting(group, writer, 1, 2):
        pass
    with monkeypatch.context() as patched:
        patched.setattr("time.sleep", interrupt)
        with pytest.raises(SoftTimeLimitExceeded):
            group.submit(7)
    assert group.submit(8) == 16
    assert writer.groups[-1] == [8]


def test_an_interruption_at_any_instruction_leaves_the_others_able_to_write() -> None:
    number = 1
    while _is_interrupted(number):
        number += 1
    assert number > 100


def _is_interrupted(number: int) -> bool:
    """Interrupt a request at this instruction of the module. False if the request has fewer instructions."""
    group = GroupCommit[int, int](lambda numbers: [2 * one for one in numbers])
    left = number

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename != group_commit.__file__:
            return None
        frame.f_trace_opcodes = True
        left -= event == "opcode"
        if event == "opcode" and not left:
            raise SoftTimeLimitExceeded
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        group.submit(1)
    except SoftTimeLimitExceeded:
        pass
    finally:
        sys.settrace(before)
    assert (group._writer, group._waiting) == (None, [])
    return left <= 0
