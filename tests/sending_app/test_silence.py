"""Silence: mails were accepted, no event has come for an hour, and nothing else explains why."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models import F
from pytest_django import Settings

from events_app import stream
from events_app.shared.database import database_now
from events_app.shared.facts import Level, Reading
from sending_app import account
from sending_app.models import Mail, WebhookActivity
from sending_app.monitoring import silence
from sending_app.monitoring.silence import read_silence
from tests.support.sending.outbox_mails import put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def one_account(anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY="SG.fake")


def fingerprint() -> str:
    (mailer,) = account.usable()
    return mailer.fingerprint


def accept(count: int, ago: timedelta, **columns: object) -> None:
    """SendGrid accepts as many mails."""
    for _ in range(count):
        put_in_outbox()
    now = database_now(Mail.objects.db)
    new = Mail.objects.filter(accepted_at=None)
    times = {"attempted_at": now - ago, "accepted_at": now - ago}
    new.update(**{"state": "accepted", "account": fingerprint(), **times, **columns})


def event_came(ago: timedelta) -> None:
    WebhookActivity.objects.create(account=fingerprint(), at=database_now(Mail.objects.db) - ago)


def only_reading() -> Reading:
    (reading,) = read_silence()
    return reading


def test_mails_without_an_event_for_an_hour_are_told_with_what_to_do(database: str) -> None:
    event_came(3 * HOUR)
    accept(10, 2 * HOUR)
    accept(2, HOUR / 2)
    since = Mail.objects.earliest("accepted_at").accepted_at
    assert since
    reading = only_reading()
    assert (reading.value, reading.level) == (10, Level.WARNING)
    assert reading.text == (
        f"10 mails were accepted by SendGrid since {since:%H:%M} UTC (mailer default), and no event has come "
        "for over an hour."
    )
    assert "manage.py sendgrid_webhooks list" in reading.advice


def test_a_few_mails_cause_no_warning(database: str) -> None:
    accept(1, 2 * HOUR)
    reading = only_reading()
    assert (reading.value, reading.level) == (1, Level.ADVICE)
    assert reading.text.startswith("1 mail was accepted")


def test_a_great_number_of_mails_is_not_counted_to_its_end(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "MOST", 2)
    accept(3, 2 * HOUR)
    assert only_reading().text.startswith("2 or more mails were")


def events_still_come() -> None:
    accept(20, 2 * HOUR)
    event_came(HOUR)


def all_is_quiet_since_the_last_events() -> None:
    accept(20, 5 * HOUR)
    event_came(4 * HOUR)


def mails_are_new() -> None:
    accept(20, HOUR / 2)


def mails_are_scheduled() -> None:
    accept(20, 2 * HOUR, send_at=F("created_at") + 5 * HOUR)


def an_operator_settled_older_mails_as_sent() -> None:
    event_came(4 * HOUR)
    accept(20, 5 * HOUR, accepted_at=database_now(Mail.objects.db) - 2 * HOUR)


def mails_are_old() -> None:
    accept(20, 30 * HOUR)


@pytest.mark.parametrize(
    "arrange",
    [
        *(events_still_come, all_is_quiet_since_the_last_events, mails_are_new, mails_are_scheduled),
        *(an_operator_settled_older_mails_as_sent, mails_are_old),
    ],
)
def test_no_silence_is_told_when(database: str, arrange: Callable[[], None]) -> None:
    arrange()
    assert (only_reading().value, only_reading().text) == (0, "")


def test_no_silence_is_told_while_events_wait_in_redis(database: str) -> None:
    accept(20, 2 * HOUR)
    stream.append("tracking", [b"{}"])
    assert only_reading().value == 0


def test_no_silence_is_told_while_redis_is_away(database: str, anymail: Callable[..., None]) -> None:
    accept(20, 2 * HOUR)
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    assert only_reading().value == 0


def test_a_project_without_a_webhook_has_no_silence(database: str, settings: Settings) -> None:
    accept(20, 2 * HOUR)
    settings.ROOT_URLCONF = "events_app.monitoring.urls"
    assert list(read_silence()) == []


def test_mails_without_ids_have_no_silence(database: str, anymail: Callable[..., None]) -> None:
    accept(20, 2 * HOUR)
    anymail(SENDGRID_GENERATE_MESSAGE_ID=False)
    assert list(read_silence()) == []
