"""`./dev demo`: its story fits a terminal, its figures are right, and its data can be opened."""

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
import requests

from devstack.process import Process, wait_for
from devstack.stack import ROOT
from devstack.story import COLUMNS, check, show

pytestmark = pytest.mark.slow


def test_the_story_fits_a_terminal_and_its_data_can_be_opened(tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with Process(
        [sys.executable, "-m", "devstack", "demo", "--open"], log=tmp_path / "log", cwd=ROOT, env=env
    ) as demo:
        wait_for(lambda: "Ctrl-C ends it" in demo.output(), seconds=250, what="the end", unless_dead=demo)
        lines = demo.output().splitlines()
        (figures,) = (json.loads(line) for line in lines if line.startswith("{"))
        assert [line for line in lines if len(line) > COLUMNS and not line.startswith("{")] == []
        assert (figures["lost"], figures["sent_twice"]) == (0, 0)
        assert "WRONG" not in demo.output()

        password = re.search(r"user admin with password (\S+)", demo.output())
        assert password
        pages = re.findall(r"http\S+/admin/\S+", demo.output())
        assert len(pages) == 4
        with requests.Session() as browser:
            login = f"{pages[0].partition('/admin/')[0]}/admin/login/"
            token = browser.get(login, timeout=30).cookies["csrftoken"]
            form = {"username": "admin", "password": password[1], "csrfmiddlewaretoken": token}
            browser.post(login, {**form, "next": "/"}, timeout=30).raise_for_status()
            texts = [browser.get(page, timeout=30).text for page in pages]
        for text, words in zip(texts, ("dead letter", "Your invoice", "result_list", "Carol"), strict=True):
            assert words.lower() in text.lower()

        demo.terminate(by=signal.SIGINT)
        assert demo.wait(60) == 0
        assert "Traceback" not in demo.output()
    assert not list(tmp_path.glob("pipeline-demo-*"))


def test_a_wrong_figure_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert check(("mails", 4, 4))
    assert not check(("mails", 4, 4), ("bounced", 2, 1))
    assert "bounced" in (line := capsys.readouterr().out.splitlines()[-1])
    assert line.endswith("WRONG: expected 1")


def test_a_long_line_of_output_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    show("a" * 200)
    line = capsys.readouterr().out.rstrip("\n")
    assert len(line) == COLUMNS
    assert line.endswith("a…")
