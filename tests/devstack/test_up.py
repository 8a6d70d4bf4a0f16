"""`./dev up`: it has a secret for each thing and shows none, and Ctrl-C stops every process at once."""

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from devstack import reaper
from devstack.process import Process, wait_for
from devstack.stack import ROOT
from devstack.up import main

pytestmark = pytest.mark.slow

#: `./dev up` with another folder than `.dev`, which a developer may use at this moment.
PROGRAM = """
import sys
from pathlib import Path
from devstack import __main__, up
up.FOLDER = Path(sys.argv[1])
sys.exit(__main__.main(["up"]))
"""

SECRETS = ("password", "flower-password", "secret-key")


@pytest.mark.parametrize("argv", [["--help"], ["shop.apps", "-x"], ["shop/"]])
def test_an_argument_that_is_no_app_is_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert capsys.readouterr().err == "usage: ./dev up [APP ...]\n"


@contextmanager
def running(folder: Path) -> Iterator[Process]:
    """`./dev up` from the moment when it is ready."""
    with Process(
        [sys.executable, "-c", PROGRAM, folder], log=folder.parent / "up.log", cwd=ROOT, env=dict(os.environ)
    ) as up:
        wait_for_text(up, "Ctrl-C ends it.")
        yield up


def wait_for_text(up: Process, text: str) -> None:
    wait_for(lambda: text in up.output(), seconds=200, what=text, unless_dead=up)


def groups(folder: Path) -> list[int]:
    """The process groups of its children: each writes a log in the folder."""
    found: set[int] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "fd/2").resolve().is_relative_to(folder):
                found.add(os.getpgid(int(process.name)))
        except (OSError, RuntimeError):  # gone since it was listed
            continue
    return sorted(found)


def arguments_of_all_processes() -> str:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.append((process / "cmdline").read_text(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="this machine has no /proc")
def test_each_thing_has_a_secret_and_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    folder = tmp_path / ".dev"
    folder.mkdir()
    (folder / "password").write_text("of-an-earlier-version")  # which had one for all
    with running(folder) as up:
        admin, flower, key = secrets = [(folder / name).read_text() for name in SECRETS]
        assert admin == "of-an-earlier-version"
        assert len({*secrets}) == 3
        for name in (*SECRETS[1:], "sendgrid.pem", "manage"):
            assert not stat.S_IMODE((folder / name).stat().st_mode) & 0o077
        for progress in ("the database is ready", "web is running", "flower is running"):
            assert progress in up.output()

        flower_url = re.search(r"flower +(http\S+)", up.output())
        assert flower_url
        assert requests.get(flower_url[1], auth=("admin", flower), timeout=20).status_code == 200
        assert requests.get(flower_url[1], auth=("admin", admin), timeout=20).status_code == 401
        code = "from django.conf import settings; from django.contrib.auth import authenticate as a; "
        code += f"print(settings.SECRET_KEY == {key!r}, a(username='admin', password={admin!r}))"
        shown = subprocess.check_output(
            [folder / "manage", "shell", "--verbosity", "0", "-c", code], env={}, text=True
        )
        assert shown == "True admin\n"

        arguments = arguments_of_all_processes()
        assert str(folder / "db.sqlite3") not in arguments
        assert not [name for name, secret in zip(SECRETS, secrets, strict=True) if secret in arguments]
        assert "export DJANGO_SECRET_KEY=" in (folder / "manage").read_text()
        assert not re.search(r"^exec .*=", (folder / "manage").read_text(), re.MULTILINE)

        children = groups(folder)
        assert len(children) >= 7
        up.terminate(by=signal.SIGINT)
        assert up.wait(20) == 130
        assert "Stopping." in up.output()
        assert up.output().endswith("Stopped.\n")
        assert "Traceback" not in up.output()
        assert not [group for group in children if reaper.is_alive(-group)]


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="this machine has no /proc")
def test_a_second_ctrl_c_kills_a_process_that_hangs(tmp_path: Path) -> None:
    folder = tmp_path / ".dev"
    with running(folder) as up:
        children = groups(folder)
        for child in children:
            os.killpg(child, signal.SIGSTOP)
        up.terminate(by=signal.SIGINT)
        wait_for_text(up, "Stopping.")
        up.terminate(by=signal.SIGINT)
        assert up.wait(20) == 130
        assert "Traceback" not in up.output()
        assert not [group for group in children if reaper.is_alive(-group)]
