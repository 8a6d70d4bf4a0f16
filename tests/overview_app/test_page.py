"""The overview: the problems in plain words, the figures of each part, and who may read them."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Permission, User
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import Settings

from events_app import stream, tasks
from events_app.conf import BACKLOG_LIMIT
from events_app.shared import counters, facts, redis
from events_app.shared.counting import count
from events_app.shared.database import database_now
from overview_app import admin
from sending_app import account
from sending_app.models import Mail, OpenCircuit
from tests.support.databases import database_away
from tests.support.events.stored_events import add_pending, open_event, store_done
from tests.support.sending.outbox_mails import put_in_outbox
from tests.support.sending.suppressed_addresses import suppressed
from tests.support.workers import record_worker

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

URL = "/admin/overview_app/overview/"

TRACEBACK = """Traceback (most recent call last):
  File "crm.py", line 3, in on_event
    int(event.recipient)
ValueError: ann@example.com
"""


@pytest.fixture
def reader() -> Client:
    """A client of a person who may only see the overview."""
    create_permissions(apps.get_app_config("overview_app"), verbosity=0)
    ann = User.objects.create_user("ann", is_staff=True)
    ann.user_permissions.add(Permission.objects.get(codename="view_overview"))
    client = Client()
    client.force_login(ann)
    return client


@pytest.fixture
def well(database: str) -> None:
    """All workers and beat run."""
    record_worker()
    tasks.record_beat()


def page(client: Client, **query: str) -> str:
    """The page without what earlier requests have left, with single spaces."""
    admin.readings.forget()
    for latest in admin.charts.values():
        latest.forget()
    answer = client.get(URL, query)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", answer.content.decode())


# Who may read it


def test_strangers_are_sent_to_the_login() -> None:
    assert Client().get(URL)["Location"] == f"/admin/login/?next={URL}"


def test_staff_without_the_permission_see_nothing(client: Client) -> None:
    client.force_login(User.objects.create_user("ann", is_staff=True))
    assert client.get(URL).status_code == 403
    assert client.get(URL, {"part": "1"}).status_code == 403
    assert URL not in client.get(reverse("admin:index")).content.decode()


def test_the_permission_opens_the_page_and_its_link(reader: Client, well: None) -> None:
    assert URL in reader.get(reverse("admin:index")).content.decode()
    assert reader.post(URL).status_code == 405
    shown = page(reader)
    assert "All is well." in shown
    assert "doctor" not in shown


def test_superusers_find_the_doctor(client: Client, well: None) -> None:
    client.force_login(User.objects.create_superuser("root"))
    assert 'href="/admin/doctor/"' in page(client)


def test_the_start_of_the_site_is_the_overview(client: Client) -> None:
    assert client.get("/")["Location"] == URL


# The problems


def test_a_deployment_that_works_is_well(reader: Client, well: None) -> None:
    shown = page(reader)
    assert "All is well." in shown
    assert "Not known" not in shown


def test_a_missing_worker_is_told_with_what_to_do(reader: Client, database: str) -> None:
    tasks.record_beat()
    record_worker("sendgrid.events")
    shown = page(reader)
    assert "All is well." not in shown
    assert "<strong>No worker takes retries of events: queue sendgrid.retries.</strong>" in shown
    assert "What to do: Start a worker with -Q sendgrid.retries. Until then this work waits." in shown
    assert '<dt>sendgrid.retries</dt> <dd><span class="state state-bad">none</span></dd>' in shown


def test_a_silent_beat_is_told(reader: Client, well: None) -> None:
    redis.for_workers().decrby(redis.key("beat"), 600)
    shown = page(reader)
    assert "<strong>The last tick of beat&#x27;s came 10 minutes ago.</strong>" in shown
    assert '<dt>Last tick</dt> <dd><span class="state state-warn">10 minutes ago</span></dd>' in shown


def test_redis_away_is_the_first_problem(reader: Client, well: None, anymail: Callable[..., None]) -> None:
    (event,) = store_done(open_event("A1"))
    add_pending(event, state="dead", receivers={"crm": TRACEBACK})
    anymail(EVENT_REDIS_URL="redis://127.0.0.1:1/0")
    shown = page(reader)
    first, second = re.findall(r"</span> <strong>([^<]*)</strong>", shown)[:2]
    assert first.startswith("Redis cannot be asked")
    assert second.startswith("1 dead letter of events")
    assert re.search(r"<h2>Workers</h2> <p>Not known: a server does not answer.</p>", shown)


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_the_database_of_events_away_is_told(reader: Client, well: None, database: str) -> None:
    with database_away(database):
        shown = page(reader)
    assert "<strong>The database cannot be asked" in shown
    assert "The charts are not known: the database does not answer." in shown
    assert re.search(r"<h2>Outbox</h2> <p>Not known: a server does not answer.</p>", shown)


def test_a_full_backlog_is_an_error(reader: Client, well: None, anymail: Callable[..., None]) -> None:
    anymail(**{BACKLOG_LIMIT.name: 1})
    stream.append("tracking", [b"{}"])
    assert "<strong>Waiting in Redis, to be stored: 1.</strong>" in page(reader)


def test_advice_does_not_disturb_a_deployment_that_is_well(reader: Client, well: None) -> None:
    put_in_outbox()
    (mailer,) = account.usable()
    at = database_now(Mail.objects.db) - timedelta(hours=2)
    Mail.objects.update(state="accepted", account=mailer.fingerprint, attempted_at=at, accepted_at=at)
    shown = page(reader)
    assert "All is well." in shown
    assert "<summary>Advice: " in shown
    assert "1 mail was accepted by SendGrid since" in shown


# The figures, and the pages behind


def test_dead_letters_are_shown_by_receiver_and_error_without_an_address(reader: Client, well: None) -> None:
    events = store_done(*(open_event(f"A{number}") for number in range(3)))
    for event in events:
        add_pending(event, state="dead", receivers={"<b>crm</b>": TRACEBACK})
    shown = page(reader)
    assert "&lt;b&gt;crm&lt;/b&gt;: ValueError" in shown
    assert '<span class="state state-warn">3</span>' in shown
    assert "ann@example.com" not in shown
    assert "<b>crm" not in shown


@pytest.mark.parametrize("state", ["waiting", "failed", "parked"])
def test_the_outbox_links_to_the_mails_of_a_state(client: Client, well: None, state: str) -> None:
    put_in_outbox()
    Mail.objects.update(state=state)
    client.force_login(User.objects.create_superuser("root"))
    shown = page(client)
    url = re.search(rf'<a href="([^"]*)">{state.capitalize()}</a>', shown)
    assert url
    rows = client.get(url[1].replace("&amp;", "&"))
    assert rows.status_code == 200
    assert "1 mail" in rows.content.decode()


def test_the_figures_have_the_words_of_the_lists(reader: Client, well: None) -> None:
    shown = page(reader)
    for words in ("Events, pending", "Events, retrying", "Events, dead letters", "Sending"):
        assert f">{words}</" in shown


def test_the_suppressed_addresses_of_a_reason_are_one_link_away(client: Client, well: None) -> None:
    for number in range(4):
        suppressed(f"p{number}@example.com", active=number > 0)
    client.force_login(User.objects.create_superuser("root"))
    shown = page(client).partition("<h2>Suppressed addresses</h2>")[2].partition("<h2>")[0]
    url = re.search(r'<dt><a href="([^"]*)">Bounced</a></dt> <dd>(?:<[^>]*>)?3<', shown)
    assert url, shown
    rows = client.get(url[1].replace("&amp;", "&"))
    assert "3 suppressed addresses" in rows.content.decode()


def test_the_dead_letters_are_one_link_away(client: Client, well: None) -> None:
    (event,) = store_done(open_event("A1"))
    add_pending(event, state="dead", receivers={"crm": TRACEBACK})
    client.force_login(User.objects.create_superuser("root"))
    url = re.search(r'<a href="([^"]*)">Events, dead letters</a>', page(client))
    assert url
    assert client.get(url[1]).status_code == 200


def test_a_paused_account_is_told_with_the_words_of_sendgrid(reader: Client, well: None) -> None:
    (mailer,) = account.usable()
    now = database_now(OpenCircuit.objects.db)
    OpenCircuit.objects.create(
        account=mailer.fingerprint,
        alias="default",
        opened_at=now,
        probe_at=now,
        status_code=401,
        reason="<b>The key</b> of ann@example.com is wrong.",
    )
    shown = page(reader)
    words = "&lt;b&gt;The key&lt;/b&gt; of ***@example.com is wrong."
    text = f"The mailer default is paused: SendGrid answered 401 ({words})."
    assert f"<strong>{text}</strong>" in shown
    assert re.search(r'<dt><a href="[^"]*">default</a></dt> <dd><span class="state state-bad">paused', shown)


def test_a_paused_account_can_be_probed(client: Client, well: None) -> None:
    (mailer,) = account.usable()
    now = database_now(OpenCircuit.objects.db)
    OpenCircuit.objects.create(account=mailer.fingerprint, alias="default", opened_at=now, probe_at=now)
    client.force_login(User.objects.create_superuser("root"))
    first, second = re.findall(r'<a href="([^"]*)">Probe now</a>', page(client))
    assert first == second
    asked = client.get(first)
    assert asked.status_code == 200
    assert "<form" in asked.content.decode()


def test_refused_posts_are_counted_by_reason(reader: Client, well: None) -> None:
    count(counters.WEBHOOK_POSTS, "tracking", "403", "credentials", by=1200)
    count(counters.WEBHOOK_POSTS, "tracking", "200", "accepted", by=77)
    shown = page(reader)
    assert '<dt>tracking: wrong password or signature</dt> <dd><span class="state state-warn">1,200' in shown
    assert ">77<" not in shown


# Its cost


def test_the_script_gets_the_content_alone(reader: Client, well: None) -> None:
    shown = page(reader, part="1")
    assert "All is well." in shown
    assert "<html" not in shown
    assert "no-store" in reader.get(URL, {"part": "1"})["Cache-Control"]


def test_the_number_of_queries_does_not_grow_with_the_rows(reader: Client, well: None, database: str) -> None:
    numbers = []
    for more in (1, 20):
        for number in range(more):
            put_in_outbox()
            (event,) = store_done(open_event(f"{more}-{number}"))
            add_pending(event, state="dead", receivers={"crm": TRACEBACK})
        with CaptureQueriesContext(connections[database]) as asked:
            page(reader, part="1")
        numbers.append(len(asked))
    assert numbers[0] == numbers[1]


def test_many_open_pages_gather_the_facts_once(
    reader: Client, well: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    page(reader)
    monkeypatch.setattr(facts, "gather", pytest.fail)
    for _ in range(3):
        assert "All is well." in reader.get(URL, {"part": "1"}).content.decode()


def test_a_project_without_the_pages_behind_has_no_links(
    reader: Client, well: None, settings: Settings
) -> None:
    (event,) = store_done(open_event("A1"))
    add_pending(event, state="dead", receivers={"crm": TRACEBACK})
    settings.ROOT_URLCONF = "tests.overview_app.urls"
    shown = page(reader)
    assert "<dt>Parked</dt>" in shown
    assert "1 dead letter of events" in shown
    assert "Show the" not in shown


@pytest.mark.parametrize(
    ("state", "words"), [("parked", "Show the mails"), ("dead", "Show the deliveries of events")]
)
def test_a_problem_names_the_rows_behind(reader: Client, well: None, state: str, words: str) -> None:
    if state == "parked":
        put_in_outbox()
        Mail.objects.update(state=state)
    else:
        (event,) = store_done(open_event("A1"))
        add_pending(event, state=state, receivers={"crm": TRACEBACK})
    assert f">{words}</a>" in page(reader)


@pytest.mark.parametrize(("number", "sentence"), [(1, "has the mail."), (2, "has the mails.")])
def test_parked_mails_are_told_in_their_number(
    reader: Client, well: None, number: int, sentence: str
) -> None:
    for _ in range(number):
        put_in_outbox()
    Mail.objects.update(state="parked")
    assert f"parked in the mail lane: nobody knows whether SendGrid {sentence}" in page(reader)
