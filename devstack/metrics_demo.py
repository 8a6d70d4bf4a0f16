"""The demo of the metrics: scrapes web and compares the metrics with what the demo knows."""

import secrets
from collections.abc import Mapping

import requests
from prometheus_client.parser import text_string_to_metric_families

from devstack.process import wait_for
from devstack.row_counts import count_rows
from devstack.stack import Stack
from devstack.story import check, print_chapter, say

TOKEN = secrets.token_urlsafe(24)

#: Seconds for the workers to send their last counts.
PATIENCE = 30


def run(deployment: Stack, known: Mapping[str, int]) -> bool:
    """Scrape the metrics; return whether they agree with the database and the figures of the other demos."""
    rows = count_rows(deployment.env, {"stored": "events_app_event", "calls": "example_app_call"})
    expected = {
        "events stored": rows["stored"],
        "events received, without duplicates": rows["stored"],
        "dead letters of events": known["dead"],
        "calls of the receiver of all events": rows["calls"],
        "mails accepted": known["mails"],
        "recipients delivered": known["delivered"],
        "inbound posts accepted": known["inbound"],
        "servers that answer": 2,
    }
    scraped: dict[str, int] = {}

    def agrees() -> bool:
        scraped.update(_scrape(deployment))
        return scraped == expected

    print_chapter(4, "The metrics say the same")
    say("Prometheus would read these figures at /metrics. The events of the 4 mails are among them:")
    try:
        wait_for(agrees, seconds=PATIENCE, what="the metrics agree")
    except TimeoutError as timeout:
        say(str(timeout))
    return check(*((name, scraped[name], number) for name, number in expected.items()))


def _scrape(deployment: Stack) -> dict[str, int]:
    answer = requests.get(deployment.metrics_url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20)
    answer.raise_for_status()
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]

    def total(name: str, **labels: str) -> int:
        return int(
            sum(
                sample.value
                for sample in samples
                if sample.name == f"sendgrid_{name}" and labels.items() <= sample.labels.items()
            )
        )

    received = total("events_received_total")
    calls = {"receiver": "example_app.receivers.note_call", "outcome": "ok"}
    return {
        "events stored": total("events_stored_total"),
        "events received, without duplicates": received - total("events_duplicate_total"),
        "dead letters of events": total("deliveries", kind="events", state="dead"),
        "calls of the receiver of all events": total("receiver_calls_total", **calls),
        "mails accepted": total("mail_outcomes_total", outcome="accepted"),
        "recipients delivered": total("recipient_statuses_total", status="delivered"),
        "inbound posts accepted": total("webhook_posts_total", webhook="inbound", status="200"),
        "servers that answer": total("server_answers"),
    }
