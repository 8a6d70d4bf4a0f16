"""Short runs of `./dev chaos`: its counts are right, and it finds a wedged worker."""

import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connections

from devstack import chaos
from devstack.fault_injection import FAULT_KINDS, plan_faults
from devstack.process import Process, wait_for
from devstack.stack import ROOT
from devstack.work_log import SENT_MAILS
from sending_app.models import Mail
from tests.settings import POSTGRES_URL
from tests.support.databases import Router
from tests.support.sending.outbox_mails import put_in_outbox

#: Seconds for a run. The work of a killed worker waits a minute for its lease.
PATIENCE = 300


def start_chaos(folder: Path, *arguments: str) -> Process:
    return Process(
        [sys.executable, "-m", "devstack", "chaos", *arguments], log=folder / "chaos.log", cwd=ROOT
    )


def figures_of(run: Process) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        next(line for line in run.output().splitlines() if line.startswith("{"))
    )
    return found


@pytest.mark.slow
def test_a_run_of_faults_loses_no_event_and_no_mail(tmp_path: Path) -> None:
    arguments = ("--faults", "12", "--minutes", "0.5")
    with start_chaos(tmp_path, *arguments) as run:
        status = run.wait(PATIENCE)
    assert status == 0, run.output()
    found = figures_of(run)
    assert found["good"]
    assert sum(found["faults"].values()) == 12
    assert found["events_stored"] == found["events_posted"] > 200
    assert found["mails_accepted"] == found["mails_sent"] > 5
    assert found["receiver_calls"] >= found["events_stored"]


@pytest.mark.slow
def test_a_frozen_worker_is_reported_as_wedged(tmp_path: Path) -> None:
    arguments = ("--faults", "1", "--minutes", "0.1", "--kinds", "freeze", "--wedged-after", "5")
    with start_chaos(tmp_path, *arguments) as run:
        ready = wait_for(
            lambda: re.search(r" worker-1 is ready, process (\d+)", run.output()),
            seconds=PATIENCE,
            what="a worker",
            unless_dead=run,
        )
        os.killpg(int(ready[1]), signal.SIGSTOP)
        status = run.wait(PATIENCE)
    assert status == 1, run.output()
    found = figures_of(run)
    assert (found["good"], found["wedged"]) == (False, {"worker": 1})
    assert found["longest_stall"] >= 5
    assert found["events_lost"] == found["mails_lost"] == 0
    assert " worker is wedged: no task finished " in run.output()
    (logs,) = re.findall(r"^The logs are in (.+)\.$", run.output(), re.MULTILINE)
    assert "mailer-1.log" in os.listdir(logs)
    shutil.rmtree(logs)


@pytest.mark.django_db(databases=["default", "postgres"], transaction=True)
def test_a_parked_mail_that_was_accepted_hides_no_lost_mail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Router, "events", "postgres")
    parts = [put_in_outbox().mails.get() for _ in range(3)]
    accepted, parked, lost = (str(part.recipients.get().message_id) for part in parts)
    Mail.objects.using("postgres").filter(pk__in=[part.pk for part in parts[:2]]).update(state="parked")
    (tmp_path / SENT_MAILS).write_text(f"{accepted}\n{parked}\n")
    name = connections["postgres"].settings_dict["NAME"]
    url = urlsplit(POSTGRES_URL)._replace(path=f"/{name}").geturl()
    mail = SimpleNamespace(body={"personalizations": [{"custom_args": {"anymail_id": accepted}}]})
    poster: Any = SimpleNamespace(posted=set())
    sendgrid: Any = SimpleNamespace(accepted=[mail])

    def figures() -> chaos.Figures:
        return chaos._figures(url, tmp_path, poster, sendgrid)

    assert (figures().mails_lost, figures().is_settled) == (0, True)
    with (tmp_path / SENT_MAILS).open("a") as mails:
        mails.write(f"{lost}\n")
    assert (figures().mails_lost, figures().is_settled) == (1, False)


def test_one_seed_makes_the_same_faults() -> None:
    first, again, other = (list(plan_faults(200, 600, seed, list(FAULT_KINDS))) for seed in (1, 1, 2))
    assert first == again != other
    assert {fault.kind for fault in first} == FAULT_KINDS.keys()
    assert [fault.at for fault in first] == sorted(fault.at for fault in first)
    assert first[-1].at < 600


def test_an_unknown_fault_is_an_error(tmp_path: Path) -> None:
    with start_chaos(tmp_path, "--kinds", "flood") as run:
        assert run.wait(30) == 2
    assert "there is no fault flood; there are cut, " in run.output()
