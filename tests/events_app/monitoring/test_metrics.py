"""The metrics: for those with the token, in Prometheus's formats, of what can be asked, and documented."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Barrier, Thread

import pytest
import requests
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.test import Client
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from pytest_django import Settings

from devstack.stack import ROOT
from events_app.monitoring import exposition
from events_app.shared import counters, facts
from events_app.shared.counting import count, observe
from events_app.shared.facts import Depth, FactKind
from events_app.shared.latest import latest_readings
from tests.support.monitoring import metric_facts

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

TOKEN = "a-token-of-enough-letters"
OPENMETRICS = "application/openmetrics-text;version=1.0.0"


@pytest.fixture(autouse=True)
def fresh(anymail: Callable[..., None]) -> Iterator[None]:
    anymail(METRICS_TOKEN=TOKEN)
    exposition.latest.forget()
    yield
    exposition.latest.forget()


def ask(authorization: str = f"Bearer {TOKEN}", **headers: str) -> tuple[int, str]:
    response = Client().get("/metrics", headers={"Authorization": authorization, **headers})
    return response.status_code, response.content.decode()


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """The values by name and the values of the labels."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in parse_text(text)
        for sample in family.samples
    }


# Who may read


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "ä"],
)
def test_without_the_token_nothing_is_told(authorization: str) -> None:
    response = Client().get("/metrics", headers={"Authorization": authorization})
    assert (response.status_code, response["WWW-Authenticate"]) == (401, "Bearer")
    assert response.content == b"the metrics need the header Authorization: Bearer, with the METRICS_TOKEN\n"


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer "])
def test_a_server_without_a_token_refuses_all(anymail: Callable[..., None], authorization: str) -> None:
    anymail(METRICS_TOKEN="")
    status, text = ask(authorization)
    assert (status, "METRICS_TOKEN is not set on this server" in text) == (403, True)


def test_an_unusable_token_refuses_all(anymail: Callable[..., None]) -> None:
    anymail(METRICS_TOKEN=5)
    assert ask()[0] == 503


@pytest.mark.parametrize("token", [f" {TOKEN}\n", "lettörs-€-and-no-end"])
def test_a_token_of_any_letters_is_accepted_without_the_space_around(
    anymail: Callable[..., None], token: str
) -> None:
    anymail(METRICS_TOKEN=token)
    # As a server decodes the bytes of a header.
    assert ask(f"Bearer {token.strip().encode().decode('latin-1')}")[0] == 200
    assert ask(f"Bearer {token.strip()}€")[0] == 401


def test_monitors_ask_by_any_host_and_over_http(settings: Settings) -> None:
    settings.ALLOWED_HOSTS, settings.SECURE_SSL_REDIRECT = ["example.com"], True
    assert ask(host="10.1.2.3:8000")[0] == 200
    assert Client().post("/metrics").status_code == 405


# What is told


@pytest.mark.parametrize(
    "accept", ["", "text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0"]
)
def test_the_formats_of_prometheus_parse(accept: str) -> None:
    count(counters.WEBHOOK_POSTS, "tracking", "403", "credentials", by=2)
    count(counters.RECEIVER_CALLS, 'a "shop"\n\\', "ok")
    count(counters.RECEIVER_CALLS, "\ud800", "ok")
    for seconds in (0.0001, 0.2, 99):
        observe(counters.RECEIVER_SECONDS, [seconds], "shop")
    status, text = ask(accept=accept)
    assert status == 200
    parse = parse_openmetrics if "openmetrics" in accept else parse_text
    families = {family.name: family for family in parse(text)}
    posts, calls = families["sendgrid_webhook_posts"], families["sendgrid_receiver_calls"]
    assert (posts.type, posts.documentation) == ("counter", "Posts by webhook, answer and reason.")
    labels = {"webhook": "tracking", "status": "403", "reason": "credentials"}
    assert [(sample.labels, sample.value) for sample in posts.samples] == [(labels, 2)]
    assert {sample.labels["receiver"] for sample in calls.samples} == {'a "shop"\n\\', "?"}
    seconds_of = families["sendgrid_receiver_seconds"]
    assert seconds_of.type == "histogram"
    numbers = {sample.labels["le"]: sample.value for sample in seconds_of.samples if "le" in sample.labels}
    assert (numbers["0.001"], numbers["0.1"], numbers["0.5"], numbers["30.0"], numbers["+Inf"]) == (
        1,
        1,
        2,
        2,
        3,
    )
    assert families["sendgrid_server_answers"].samples[0].value == 1


def test_a_server_that_is_away_hides_only_its_own_metrics(anymail: Callable[..., None]) -> None:
    anymail(EVENT_REDIS_URL="redis://:a-password@127.0.0.1:1/0")
    status, text = ask()
    assert status == 200
    assert samples(text)["sendgrid_server_answers", ("Redis",)] == 0
    assert "a-password" not in text


def test_a_scrape_during_a_scrape_asks_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    times, both = [], Barrier(2)

    def gather(*_: object, **__: object) -> list[facts.Reading]:
        times.append(1)
        return []

    monkeypatch.setattr(facts, "gather", gather)
    latest = latest_readings(Depth.FIGURES, 1)

    def scrape() -> None:
        both.wait()
        latest.get()

    threads = [Thread(target=scrape) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert times == [1]


def test_without_prometheus_client_the_answer_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    status, text = ask()
    assert (status, "django-sendgrid-pipeline[metrics]" in text) == (503, True)
    with pytest.raises(CommandError, match=r"django-sendgrid-pipeline\[metrics\]"):
        call_command("metrics")


# The command


def test_the_command_prints_the_metrics_once(capsys: pytest.CaptureFixture[str]) -> None:
    count(counters.EVENTS_DUPLICATE, by=7)
    call_command("metrics")
    assert samples(capsys.readouterr().out)["sendgrid_events_duplicate_total", ()] == 7


def test_the_command_serves_the_metrics_on_a_port_of_their_own(tmp_path: Path, stream: str) -> None:
    count(counters.EVENTS_DUPLICATE, by=7)
    env = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "DJANGO_SECRET_KEY": "a-key",
        "DATABASE_URL": f"sqlite:///{tmp_path}/none/db.sqlite3",
        "REDIS_URL": django_settings.REDIS_URL,
        "EVENT_STREAM": stream,
    }
    command = [sys.executable, str(ROOT / "manage.py"), "metrics", "--port"]
    with subprocess.Popen([*command, "0"], env=env, text=True, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            found = re.fullmatch(r"Metrics: (http://127\.0\.0\.1:(\d+)/metrics)\n", line)
            assert found
            text = requests.get(found[1], timeout=20).text
            assert samples(text)["sendgrid_events_duplicate_total", ()] == 7
            assert samples(text)["sendgrid_server_answers", ("The database",)] == 0
            taken = subprocess.run([*command, found[2]], env=env, text=True, capture_output=True, check=False)
            assert (taken.returncode, "Address already in use" in taken.stderr) == (1, True)
        finally:
            process.terminate()


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_that_is_none_is_an_error(port: str) -> None:
    with pytest.raises(CommandError, match="invalid"):
        call_command("metrics", f"--port={port}")


# The names


def test_no_two_metrics_have_one_name() -> None:
    names = [exposition.metric_name(fact).removesuffix("_total") for fact in facts.declared.values()]
    assert len({*names}) == len(names)


def test_counters_alone_end_in_total() -> None:
    assert not [
        fact.name
        for fact in facts.declared.values()
        if fact.name.endswith("_total") != (fact.kind == FactKind.COUNTER)
    ]


def test_each_metric_is_documented_with_its_labels() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    rows = re.findall(r"^\| `(sendgrid_\w+)` \|([^|]*)\| [^|]+ \|$", page, re.MULTILINE)
    documented = {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    assert documented == {exposition.metric_name(fact): fact.labels for fact in metric_facts()}
    assert len(documented) == len(rows)


def test_each_metric_of_a_scrape_is_documented() -> None:
    _, text = ask()
    known = {exposition.metric_name(fact).removesuffix("_total") for fact in metric_facts()}
    assert {family.name for family in parse_text(text)} <= known
