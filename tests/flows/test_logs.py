"""The logs of a whole deployment, started with the documented commands."""

import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from celery import Celery

from devstack.process import Process
from devstack.stack import ROOT
from fake_sendgrid import responses
from fake_sendgrid.events import generate_events
from fake_sendgrid.rules.fault import Fault
from tests.support.flows.databases import on_sqlite
from tests.support.flows.deployment import Deployment
from tests.support.flows.mail_deployment import MailDeployment
from tests.support.flows.receivers_app import behaviours
from tests.support.flows.receivers_app.behaviours import TELLTALE

#: Ticks of each app that an idle deployment gets here. Beat sends one every five seconds.
TICKS = 20

#: The ticks, each with its queue.
APPS = (("events.tick", "sendgrid.events"), ("sending.tick", "sendgrid.mail"))

LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ [\w.]+: ", re.MULTILINE)


@on_sqlite
def test_an_idle_deployment_names_its_receivers_and_then_logs_nothing(deployment: Deployment) -> None:
    deployment.configure(DJANGO_EXTRA_APPS="example_app")  # no app of the tests, which logs tasks
    app = Celery(broker=deployment.valkey.url(1), set_as_current=False)

    def least_ticks() -> int:
        """Ticks that the worker has received, of the app that got fewer."""
        stats: dict[str, Any] = app.control.inspect(timeout=1).stats() or {}
        totals = [worker["total"] for worker in stats.values()]
        return min((total.get(name, 0) for total in totals for name, _ in APPS), default=0)

    with ExitStack() as stack:
        worker = stack.enter_context(deployment.stack.worker())
        assert "INFO events_app.worker.receivers: Receivers of events: example_app." in worker.output()
        web, beat = deployment.web(), stack.enter_context(deployment.stack.beat())
        flower = stack.enter_context(deployment.stack.flower("flower", "a password"))
        deployment.wait_until(lambda: "Connected to" in flower.output(), "flower")
        deployment.wait_until(lambda: "Starting..." in beat.output(), "beat")
        deployment.wait_until(least_ticks, "the ticks that the worker sends itself at its start")
        processes = (web, worker, beat, flower)
        sizes = {process.log: len(process.output()) for process in processes}

        for name, queue in APPS:
            for _ in range(TICKS):
                app.send_task(name, queue=queue)
        requests.head(deployment.stack.webhook_url, timeout=5).raise_for_status()
        requests.get(f"{deployment.stack.flower_url}healthcheck", timeout=5).raise_for_status()
        deployment.wait_until(lambda: least_ticks() > TICKS + 1, "these ticks, and one of beat")

        assert [line for process in processes for line in new_lines(process, sizes)] == []


def new_lines(process: Process, sizes: dict[Path, int]) -> list[str]:
    return process.output()[sizes[process.log] :].splitlines()


@on_sqlite
@pytest.mark.parametrize("log_format", ["line", "json"])
def test_no_log_has_an_address_and_no_text_forges_a_line(
    mail_deployment: MailDeployment, log_format: str
) -> None:
    deployment = mail_deployment
    deployment.configure(LOG_FORMAT=log_format, RECEIVER_MAX_ATTEMPTS=1)
    if log_format == "json":
        deployment.configure(GRANIAN_LOG_CONFIG=ROOT / "project" / "granian_json.json")
    processes = web, worker, mailer = deployment.web(), deployment.worker(), deployment.mailer()

    # A receiver that fails, and events that cannot be read.
    events = generate_events(3)
    failing = events[0]["sg_event_id"]
    deployment.call_log.order(failing, behaviours.fail_with_an_address)
    unreadable = json.dumps({"email": TELLTALE, "event": {"no": TELLTALE}}).encode()
    assert deployment.post([*events, unreadable, f'"{TELLTALE}"'.encode()]) == 200
    # A mail that SendGrid refuses and a mail that SendGrid takes, each with a receiver that fails.
    deployment.call_log.order(TELLTALE, behaviours.fail_with_an_address)
    deployment.sendgrid.next(responses.error(400, Fault(f"No {TELLTALE}\nforged", None)))
    for _ in range(2):
        deployment.call("send", to=[TELLTALE])
    # Strangers.
    site, webhook = deployment.stack.url, deployment.stack.webhook_url
    forged = "\n2026-01-01 00:00:00,000 ERROR bank: forged"
    answers = [
        requests.post(f"{webhook}?from={TELLTALE}", data=TELLTALE, timeout=5),
        requests.get(f"{site}{TELLTALE}/{forged}", timeout=5),
        requests.get(site, headers={"Host": f"{TELLTALE}.evil"}, timeout=5),
        requests.get(f"{site}admin/?q={TELLTALE}", timeout=5),
    ]
    assert [answer.status_code for answer in answers] == [403, 404, 400, 200]

    deployment.wait_until(lambda: failing in deployment.dead_letters(), "a dead letter")
    for receiver in ("post_send", "send_failed"):
        said = f"receivers.{receiver} of {receiver} failed: ValueError at "
        deployment.wait_until(lambda: said in mailer.output(), said)  # noqa: B023
    deployment.wait_until(lambda: "it failed 1 times" in worker.output(), "its line, after the commit")

    everything = "".join(process.output() for process in processes)
    assert "tell.tale" not in everything
    assert "\\n2026-01-01 00:00:00,000 ERROR bank: forged" in web.output()
    assert not re.search("^2026-01-01", everything, re.MULTILINE)
    (failure,) = (line for line in worker.output().splitlines() if "Receiver second failed on event" in line)
    assert f"attempt 1 of 1: ValueError at {behaviours.__file__}:" in failure
    (dead_letter,) = (line for line in worker.output().splitlines() if "it failed 1 times" in line)
    if log_format == "json":
        fields = json.loads(failure)
        assert (fields["level"], fields["receiver"], fields["event_id"]) == ("ERROR", "second", failing)
        assert (fields["task"], fields["error"]) == ("events.drain", "ValueError")
        assert json.loads(dead_letter)["event_id"] == failing
        assert all(json.loads(line)["message"] for line in web.output().splitlines())
        assert all(json.loads(line)["message"] for line in everything.splitlines() if line.startswith("{"))
        assert not LINE.search(everything)


@on_sqlite
def test_the_level_on_the_command_line_has_precedence_and_debug_shows_prints(deployment: Deployment) -> None:
    deployment.configure(LOG_LEVEL="WARNING")
    deployment.web()
    worker = deployment.worker("--loglevel", "debug")
    events = generate_events(1)
    deployment.call_log.order(events[0]["sg_event_id"], behaviours.fail_with_an_address, tries=1)
    assert deployment.post(events) == 200

    printed = f"DEBUG celery.redirected: to {TELLTALE}"
    deployment.wait_until(lambda: worker.output().count(printed) == 2, "both prints")
    deployment.wait_until(
        lambda: "DEBUG events_app.failures: Receiver second" in worker.output(), "a traceback"
    )
    assert f"  ValueError: no {TELLTALE}\n  2026-01-01 00:00:00,000 ERROR bank: forged" in worker.output()
