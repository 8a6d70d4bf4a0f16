"""A process ends with its children, on request and when its parent dies."""

import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devstack import reaper
from devstack.process import Process, free_port, stop_all, wait_for

# The shell leads the group, says which child it has started, and waits for it.
FAMILY = ["/bin/sh", "-c", "sleep 1000 & echo $!; wait"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True); signal.pause()",
]
ROOT = Path(__file__).parents[2]


def gone(group: int) -> bool:
    return not reaper.is_alive(-group)


def said(process: Process) -> str:
    return wait_for(process.output, seconds=20, what="a word in the log", unless_dead=process)


@pytest.mark.parametrize("frozen", [False, True])
def test_stop_ends_the_child_processes(tmp_path: Path, frozen: bool) -> None:
    process = Process(FAMILY, log=tmp_path / "log")
    child = int(said(process))
    if frozen:
        process.freeze()
    process.stop()
    assert not process.alive
    assert process.wait(0) == -signal.SIGTERM
    assert gone(process.pid)
    assert not reaper.is_alive(child)


def test_stop_kills_a_process_that_ignores_sigterm(tmp_path: Path) -> None:
    with Process(STUBBORN, log=tmp_path / "log") as process:
        said(process)
        process.stop(grace=0.05)
        assert process.wait(0) == -signal.SIGKILL


def test_stop_lets_the_main_process_finish(tmp_path: Path) -> None:
    program = (
        "import signal, sys; signal.signal(2, lambda *_: sys.exit(7)); print(1, flush=True); signal.pause()"
    )
    process = Process([sys.executable, "-c", program], log=tmp_path / "log")
    said(process)
    process.stop(by=signal.SIGINT)
    assert process.wait(0) == 7


def test_processes_stop_together_and_a_late_one_is_killed(tmp_path: Path) -> None:
    stubborn = Process(STUBBORN, log=tmp_path / "stubborn")
    family = Process(FAMILY, log=tmp_path / "family")
    ended = Process(["true"], log=tmp_path / "ended")
    said(stubborn)
    said(family)
    assert ended.wait(20) == 0
    assert stop_all([stubborn, family, ended], grace=1) == [stubborn]
    assert stubborn.wait(0) == -signal.SIGKILL
    assert family.wait(0) == -signal.SIGTERM
    assert gone(family.pid)


def test_ctrl_c_while_processes_stop_kills_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ctrl_c(_: float) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    with Process(STUBBORN, log=tmp_path / "log") as process:
        said(process)
        monkeypatch.setattr("devstack.process.time.sleep", ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            stop_all([process], grace=1000)
        assert process.wait(0) == -signal.SIGKILL


def test_stop_ends_children_left_behind_by_the_main_process(tmp_path: Path) -> None:
    process = Process(["/bin/sh", "-c", "sleep 1000 & exit 3"], log=tmp_path / "log")
    assert process.wait(20) == 3
    assert not process.alive
    assert not gone(process.pid)
    process.stop()
    assert gone(process.pid)


def test_kill_ends_the_whole_group_and_is_idempotent(tmp_path: Path) -> None:
    process = Process(FAMILY, log=tmp_path / "log")
    said(process)
    process.kill()
    assert process.wait(0) == -signal.SIGKILL
    assert gone(process.pid)
    process.kill()
    process.stop()


def test_freeze_stops_a_process_and_thaw_continues_it(tmp_path: Path) -> None:
    def changed() -> bool:
        return os.waitpid(process.pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)[0] == process.pid

    with Process(["sleep", "1000"], log=tmp_path / "log") as process:
        process.freeze()
        wait_for(changed, seconds=20, what="the process stands still")
        process.thaw()
        wait_for(changed, seconds=20, what="the process goes on")
        assert process.alive


def test_a_process_gets_its_log_environment_and_folder(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    script = "echo $WORD; pwd >&2; cat"  # cat: its stdin is empty
    process = Process(["/bin/sh", "-c", script], log=log, env={**os.environ, "WORD": "a b"}, cwd=tmp_path)
    assert process.wait(20) == 0
    assert process.output() == f"before\na b\n{tmp_path}\n"


def test_a_missing_program_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no program /no/such"):
        Process(["/no/such"], log=tmp_path / "log")


def test_wait_raises_after_its_timeout(tmp_path: Path) -> None:
    process = Process(["sleep", "1000"], log=tmp_path / "log")
    with process, pytest.raises(TimeoutError, match="has not ended"):
        process.wait(0.01)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_process_can_run_as_another_user(tmp_path: Path) -> None:
    process = Process(["/bin/sh", "-c", "id -u; id -G"], log=tmp_path / "log", user="nobody")
    process.wait(20)
    nobody = pwd.getpwnam("nobody")
    assert process.output().split() == [str(nobody.pw_uid), str(nobody.pw_gid)]


@contextmanager
def parent_of_a_child(tmp_path: Path, then: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that has started a `Process`, and the group of the latter."""
    program = (
        "import os, signal, sys; from pathlib import Path; from devstack.process import Process\n"
        f"child = Process(['sleep', '1000'], log=Path({str(tmp_path / 'log')!r}))\n"
        "print(child.pid, flush=True)\n" + then
    )
    command = [sys.executable, "-c", program]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdout
        group = int(parent.stdout.readline())
        try:
            yield parent, group
        finally:
            parent.kill()
            if not gone(group):  # only when the test has failed
                os.killpg(group, signal.SIGKILL)


@pytest.mark.parametrize("state", ["running", "frozen"])
def test_a_child_ends_with_its_killed_parent(tmp_path: Path, state: str) -> None:
    with parent_of_a_child(tmp_path, "sys.stdin.read()") as (parent, group):
        if state == "frozen":
            os.killpg(group, signal.SIGSTOP)
        parent.kill()
        wait_for(lambda: gone(group), seconds=20, what="the orphan is gone")


def test_a_child_ends_with_its_finished_parent(tmp_path: Path) -> None:
    with parent_of_a_child(tmp_path, "pass") as (parent, group):
        assert parent.wait(20) == 0
        assert gone(group)


def test_a_fork_of_the_parent_does_not_hide_the_end_of_the_parent(tmp_path: Path) -> None:
    with parent_of_a_child(tmp_path, "os.fork(); sys.stdin.read()") as (parent, group):
        parent.kill()
        wait_for(lambda: gone(group), seconds=20, what="the orphan is gone")


def test_the_reaper_kills_a_process_that_ignores_sigterm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper, "PATIENCE", 0.05)
    with Process(STUBBORN, log=tmp_path / "log") as process:
        said(process)
        reaper.end_targets({-process.pid})
        assert process.wait(20) == -signal.SIGKILL


def test_the_reaper_parses_its_commands() -> None:
    assert reaper.read_targets(["add 7\n", "add 8\n", "watch 9\n", "drop 7\n"]) == {-8, 9}
    assert reaper.read_targets(["watch 9\n", "unwatch 9\n"]) == set()
    assert reaper.read_targets(["add 1\n", "add 0\n", "watch 1\n"]) == set()  # everybody, ourselves, init


def test_wait_for_returns_the_value() -> None:
    values = iter([0, "", "found"])
    assert wait_for(lambda: next(values), seconds=20, what="a value") == "found"


def test_wait_for_names_the_awaited_condition_on_timeout() -> None:
    with pytest.raises(TimeoutError, match="the moon"):
        wait_for(lambda: False, seconds=0, what="the moon")


def test_wait_for_raises_the_error_of_the_condition() -> None:
    with pytest.raises(ZeroDivisionError):
        wait_for(lambda: 1 / 0, seconds=20, what="nothing")


def test_wait_for_raises_when_the_process_has_ended(tmp_path: Path) -> None:
    process = Process(["/bin/sh", "-c", "echo last words; exit 4"], log=tmp_path / "log")
    with pytest.raises(RuntimeError, match=r"(?s)an answer.*status 4.*last words"):
        wait_for(lambda: False, seconds=1000, what="an answer", unless_dead=process)


def test_a_free_port_is_outside_the_ephemeral_range() -> None:
    port = free_port()
    assert port < 32768
    with socket.create_server(("127.0.0.1", port)):
        pass
