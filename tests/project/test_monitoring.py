"""The dashboard and the alert rules: every query parses and asks for metrics and labels that exist."""

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml
from django.urls import reverse

from devstack.stack import ROOT
from events_app.monitoring.exposition import metric_name
from events_app.shared.facts import FactKind
from tests.support.monitoring import metric_facts

FOLDER = ROOT / "project" / "monitoring"
#: Labels that Prometheus adds to each metric.
ADDED = {"instance", "job"}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((FOLDER / "alert-rules.yml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FOLDER / "grafana-dashboard.json").read_text())["panels"]
    return found


def queries() -> Iterator[tuple[str, str]]:
    """The queries, each with a name for its test."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel.get("targets", ()):
            # Grafana puts an interval in.
            yield f"{panel['title']} {target['refId']}", target["expr"].replace("$__rate_interval", "5m")


def labels_by_sample() -> dict[str, set[str]]:
    """The labels of each sample, by its name."""
    labels: dict[str, set[str]] = {}
    for fact in metric_facts():
        name = metric_name(fact)
        if fact.kind == FactKind.HISTOGRAM:
            for end in ("sum", "count"):
                labels[f"{name}_{end}"] = {*fact.labels}
            labels[f"{name}_bucket"] = {*fact.labels, "le"}
        else:
            labels[name] = {*fact.labels}
    return labels


@pytest.mark.parametrize(("name", "query"), list(queries()), ids=[name for name, _ in queries()])
def test_a_query_asks_for_metrics_and_labels_that_exist(name: str, query: str) -> None:
    known, selected, grouped = labels_by_sample(), set[str](), set[str]()

    def visit(expression: object) -> None:
        if isinstance(expression, promql_parser.VectorSelector):
            assert expression.name in known
            labels = known[expression.name]
            assert {matcher.name for matcher in expression.matchers.matchers} <= labels
            selected.update(labels)
        elif isinstance(expression, promql_parser.AggregateExpr) and expression.modifier:
            grouped.update(expression.modifier.labels)

    promql_parser.walk(promql_parser.parse(query), visit)
    assert selected or "sendgrid_" in query
    assert grouped <= selected | ADDED


def test_each_alert_says_how_bad_it_is_and_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len({*names}) == len(names)
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description"}
        assert all(text.rstrip().endswith((".", "?")) for text in rule["annotations"].values()), rule["alert"]


def test_a_label_in_the_text_of_an_alert_is_a_label_of_its_query() -> None:
    for rule in rules():
        query = rule["expr"]
        for word in (word for text in rule["annotations"].values() for word in text.split()):
            name = word.partition("$labels.")[2]
            metrics = [labels for sample, labels in labels_by_sample().items() if sample in query]
            assert not name or any(name in labels for labels in metrics), (rule["alert"], name)


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    assert len({panel["id"] for panel in panels()}) == len(panels())
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (place["x"] + column, place["y"] + line)
            for column in range(place["w"])
            for line in range(place["h"])
        }
        assert not cells & taken
        taken |= cells
    rows = [panel["title"] for panel in panels() if panel["type"] == "row"]
    assert rows == ["Is it well?", "Events in", "Receivers", "Mails out", "Feedback", "Inbound"]


def test_the_scrape_config_of_the_docs_names_a_url_and_the_rules() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    (text,) = re.findall(r"```yaml\n(scrape_configs:.*?)```", page, re.DOTALL)
    config = yaml.safe_load(text)
    (job,) = config["scrape_configs"]
    assert job.get("metrics_path", "/metrics") == reverse("sendgrid_monitoring:metrics")
    assert (job["authorization"]["type"], config["rule_files"]) == ("Bearer", ["alert-rules.yml"])
