"""docs/first-hour.md: its blocks lead from a clone to a receiver of one's own, in their order."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devstack.process import Process, wait_for
from devstack.stack import PASSED_ON
from tests.support.documents import ROOT, block, files

#: Seconds.
PATIENCE = 120

#: What `./dev up` needs of a clone. `dev` itself would make another environment.
CLONED = (
    *("events_app", "sending_app", "overview_app", "fake_sendgrid", "workers", "project", "devstack"),
    *("example_app", "manage.py"),
)

#: The objects of the page's first shell, in another one.
SUBSCRIBERS = "from shop.models import Subscriber\nann, bo = Subscriber.objects.order_by('email')\n"


class Reader:
    """Does what the page says, in a clone."""

    def __init__(self, clone: Path) -> None:
        self.clone = clone
        self.env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self.env["PYTHONPATH"] = str(clone)
        for name in CLONED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, clone / name)
        (clone / "dev").write_text(f'#!/bin/sh\nexec {sys.executable} -m devstack "$@"\n')
        (clone / "dev").chmod(0o755)

    @contextmanager
    def up(self, command: str) -> Iterator[Process]:
        """The page's command in the first terminal, from the moment when it is ready until Ctrl-C."""
        log = self.clone.parent / f"up-{len(list(self.clone.parent.iterdir()))}.log"
        with Process(command.split(), log=log, env=self.env, cwd=self.clone) as up:
            wait_for(lambda: "Ctrl-C ends it." in up.output(), seconds=PATIENCE, what="up", unless_dead=up)
            yield up
            up.terminate(by=signal.SIGINT)
            assert up.wait(30) == 130, up.output()

    def write(self, text: str) -> None:
        for name, source in files(text).items():
            path = self.clone / name
            path.parent.mkdir(exist_ok=True)
            path.write_text((path.read_text() if path.exists() else "") + source)

    def shell(self, text: str) -> str:
        """Run a block in the second terminal, and return its output."""
        done = self._run("/bin/sh", "-eu", "-c", text)
        assert done.returncode == 0, f"{text}\n{done.stdout}"
        return done.stdout

    def python(self, text: str) -> str:
        """Run a block in `.dev/manage shell`."""
        done = self._run(".dev/manage", "shell", "-c", text)
        assert done.returncode == 0, f"{text}\n{done.stdout}"
        return done.stdout

    def holds(self, text: str) -> bool:
        return self._run(".dev/manage", "shell", "-c", text).returncode == 0

    def log(self) -> str:
        return (self.clone / ".dev/worker.log").read_text()

    def wait_for_output(self, text: str, *words: str) -> None:
        def shown() -> bool:
            output = self.shell(text)
            return all(word in output for word in words)

        wait_for(shown, seconds=PATIENCE, what=f"{words} in the output of: {text}")

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.clone,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    (tmp_path / "clone").mkdir()
    return Reader(tmp_path / "clone")


@pytest.mark.timeout(900)
def test_the_page_leads_to_a_receiver_of_ones_own(reader: Reader) -> None:
    with reader.up(block("docs/first-hour.md", "Start everything")):
        reader.shell(block("docs/first-hour.md", "Send a mail", 1))
        reader.wait_for_output(block("docs/first-hour.md", "Send a mail", 2), "accepted", "bounced")

    reader.write(block("docs/first-hour.md", "An app of your own", 1))
    with reader.up(block("docs/first-hour.md", "An app of your own", 2)):
        made = reader.shell(block("docs/first-hour.md", "An app of your own", 3))
        assert "Applying shop.0001_initial" in made
        reader.python(block("docs/first-hour.md", "An event reaches your receiver", 1))
        told = SUBSCRIBERS + block("docs/first-hour.md", "An event reaches your receiver", 2)
        wait_for(lambda: reader.holds(told), seconds=PATIENCE, what="the receiver has been called")

    reader.write(block("docs/first-hour.md", "A receiver that fails", 1))
    with reader.up(block("docs/first-hour.md", "An app of your own", 2)):
        reader.python(block("docs/first-hour.md", "A receiver that fails", 2))
        failed = block("docs/first-hour.md", "A receiver that fails", 3)
        reader.wait_for_output(failed, "shop.receivers.thank", "KeyError: 'nmae'")

    receivers = reader.clone / "shop/receivers.py"
    receivers.write_text(receivers.read_text().replace('"nmae"', '"name"'))
    with reader.up(block("docs/first-hour.md", "An app of your own", 2)):
        reader.shell(block("docs/first-hour.md", "A receiver that fails", 4))
        reader.wait_for_output(failed, "No event matches.")
        wait_for(lambda: "Thank you, Olga" in reader.log(), seconds=PATIENCE, what="the line of the log")

        reader.write(block("docs/first-hour.md", "A test", 1))
        assert "Ran 2 tests" in reader.shell(block("docs/first-hour.md", "A test", 2))
