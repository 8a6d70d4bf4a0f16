"""The list and the page of events."""

from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import escape

from events_app.admin import event_page
from events_app.dispatch import leases, store
from events_app.models import Event
from events_app.shared.admin.masking import HIDDEN
from events_app.shared.database import database_now
from tests.support.commands import TRACEBACK
from tests.support.events.stored_events import add_pending, store_done, stream_entries
from tests.support.inbound.mails import add_pending_mail, store_read_mail
from tests.support.operators import page, sign_in, url_of

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

MAIL = "0c5c1a52-93b8-4f06-9a0d-6c2b6f3c8f10"


def bounce(event_id: str = "B1", **fields: object) -> dict[str, Any]:
    return {
        "event": "bounce",
        "email": "Mira.Okafor@example.net",
        "sg_event_id": event_id,
        "timestamp": 1_784_030_400,
        "anymail_id": MAIL,
        "reason": "550 5.1.1 <mira.okafor@example.net>: no such user",
        "type": "bounce",
        **fields,
    }


def event_page_of(client: Client, pk: int) -> str:
    return page(client, "events_app.event", pk)


def test_a_page_shows_an_event_with_its_times_to_the_second(database: str, root: Client) -> None:
    (pk,) = store_done(bounce(order="A-17"))
    shown = event_page_of(root, pk)
    for text in (
        f"<h1>Event {pk}</h1>",
        '<span class="state state-bad">bounced</span>',
        "Mira.Okafor@example.net".lower(),
        "2026-07-14 12:00:00 UTC",
        "550 5.1.1 &lt;mira.okafor@example.net&gt;: no such user",
        "The message bounced for good.",
        "<dt>Metadata order</dt><dd>A-17</dd>",
        "<dt>Reason</dt><dd>bounced</dd>",
        "<dd>B1</dd>",
        '<span class="state state-good">done</span>',
        escape('"sg_event_id": "B1"'),
    ):
        assert text in shown


def test_a_page_leads_to_the_mail_and_its_other_events(database: str, root: Client) -> None:
    first, second = store_done(bounce("B1"), bounce("B2", event="open"))
    (stranger,) = store_done(bounce("B3", anymail_id="another mail"))
    shown = event_page_of(root, first)
    assert f'href="{url_of("sending_app.mail", MAIL, "of_message_id")}"' in shown
    assert url_of("events_app.event", second) in shown
    assert url_of("events_app.event", stranger) not in shown


def test_without_sending_app_a_page_shows_the_id_of_the_mail(
    database: str, root: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pk,) = store_done(bounce())
    monkeypatch.setattr("events_app.shared.admin.links.MAIL", "admin:nothing_of_the_kind")
    shown = event_page_of(root, pk)
    assert f"<dd>{MAIL}</dd>" in shown


def test_hostile_values_are_escaped(database: str, root: Client) -> None:
    script = "<script>alert(1)</script>"
    (pk,) = store_done(
        bounce(
            "click<b>",
            event="click",
            url=f"https://example.com/{script}",
            useragent=script,
            category=[script],
            **{f"{script}": script, "rtl": "txt.\u202eexe"},
        )
    )
    add_pending(pk, failures=1, receivers={script: f"{TRACEBACK}{script}", f"{script}2": ""}, error=script)
    for shown in (
        event_page_of(root, pk),
        page(root, "events_app.event"),
        page(root, "events_app.pendingdelivery"),
    ):
        assert "<script>alert" not in shown
        assert "\u202e" not in shown
    assert "txt.\\u202eexe" in event_page_of(root, pk)


def test_no_list_shows_a_character_that_reorders_the_text(database: str, root: Client) -> None:
    (pk,) = store_done(bounce(email="ten.elpmaxe\u202e@a.example"))
    add_pending(pk, state="dead", error="\u202e")
    mail = store_read_mail(sender="\u202e@a.example", recipient="\u202e", subject="\u202e")
    add_pending_mail(mail, state="dead", error="\u202e")
    for model in ("event", "pendingdelivery", "inboundmail", "pendinginbounddelivery"):
        shown = page(root, f"events_app.{model}")
        assert "\u202e" not in shown
        assert "\\u202e@a.example" in shown


def test_an_unreadable_event_shows_its_bytes_and_the_error(database: str, root: Client) -> None:
    store.store(stream_entries(b'{"event": "op\xff<b>'), leases.Lease())
    shown = event_page_of(root, Event.objects.get().pk)
    assert "Unreadable: " in shown
    assert escape('{"event": "op\\xff<b>') in shown
    assert '<span class="state state-note">unknown</span>' in shown


def test_a_dead_letter_shows_its_failed_receivers_with_folded_tracebacks(database: str, root: Client) -> None:
    (pk,) = store_done(bounce())
    add_pending(pk, state="dead", failures=3, receivers={"shop": TRACEBACK, "crm": ""}, error="Given up.")
    shown = event_page_of(root, pk)
    assert '<span class="state state-bad">dead letter</span>' in shown
    assert "<summary><strong>shop</strong> failed: ConnectionError: the shop is closed</summary>" in shown
    assert escape('File "receivers.py", line 9, in stop') in shown
    assert "Still to call: crm" in shown
    assert "<dt>Failed tries</dt><dd>3</dd>" in shown
    assert "Given up." in shown
    listing = f"{url_of('events_app.pendingdelivery')}?receiver=shop"
    assert f'href="{listing}"' in shown
    assert url_of("events_app.event", pk) in root.get(listing).content.decode()


@pytest.mark.parametrize(
    ("columns", "word", "text"),
    [
        ({}, "pending", "Still to call: all connected receivers"),
        ({"failures": 1, "receivers": {"shop": TRACEBACK}}, "retrying", "<dt>Due</dt><dd><time"),
        ({"replay": True}, "retrying", "yes, as a replay"),
        ({"worker_deaths": 2}, "pending", "<dt>Worker deaths</dt><dd>2</dd>"),
    ],
)
def test_a_pending_delivery_is_shown_in_words(
    database: str, root: Client, columns: dict[str, Any], word: str, text: str
) -> None:
    (pk,) = store_done(bounce())
    add_pending(pk, **columns)
    shown = event_page_of(root, pk)
    assert f">{word}</span>" in shown
    assert text in shown


def test_without_the_permission_no_page_tells_an_address(database: str, client: Client) -> None:
    sign_in(client, "events_app.view_event", "events_app.view_pendingdelivery")
    (pk,) = store_done(bounce(url="https://example.com/okafor/?to=mira.okafor%40example.net", event="click"))
    (other,) = store_done(bounce("B2"))
    for dead in (pk, other):
        error = "ValueError: mira.okafor@example.net"
        add_pending(dead, state="dead", receivers={"shop": error}, error=error)
    for shown in (
        event_page_of(client, pk),
        event_page_of(client, other),
        page(client, "events_app.event"),
        page(client, "events_app.pendingdelivery"),
    ):
        assert "okafor" not in shown.lower()
        assert "m…@example.net" in shown
    assert event_page_of(client, other).count(HIDDEN) == 2


@pytest.mark.parametrize(
    ("model", "lookup"),
    [
        ("event", "recipient__startswith"),
        ("event", "raw__contains"),
        ("event", "pending__error__contains"),
        ("event", "pending__pk__recipient__startswith"),
        ("pendingdelivery", "event__recipient__startswith"),
        ("pendingdelivery", "pk__recipient__startswith"),
        ("pendingdelivery", "receivers__icontains"),
        ("pendingdelivery", "error__contains"),
        ("inboundmail", "sender__startswith"),
        ("inboundmail", "subject__startswith"),
        ("inboundmail", "duplicate_of__pk__sender"),
        ("pendinginbounddelivery", "mail__sender__startswith"),
        ("pendinginbounddelivery", "pk__sender__startswith"),
    ],
)
def test_the_url_of_a_list_has_no_lookups_but_those_of_its_filters(
    database: str, root: Client, model: str, lookup: str
) -> None:
    assert root.get(url_of(f"events_app.{model}"), {lookup: "mira"}).status_code == 400


def test_a_list_is_sorted_by_an_index_whatever_its_url_says(database: str, root: Client) -> None:
    store_done(bounce())
    with CaptureQueriesContext(connections[database]) as asked:
        for column in range(1, 7):
            page(root, "events_app.event", o=f"{column}.-{column}")
    ordered = [query["sql"].partition(" ORDER BY ")[2] for query in asked if "event_type" in query["sql"]]
    assert len(ordered) == 6
    assert {order.partition(" ")[0] for order in ordered} == {'"events_app_event"."id"'}


def test_the_queries_of_a_page_do_not_grow_with_the_events_of_its_mail(
    database: str, root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_page, "FIRST", 5)
    (pk,) = store_done(bounce("first"))
    event_page_of(root, pk)
    counts = []
    for number in (1, 20):
        store_done(*(bounce(f"{number}-{more}", event="open") for more in range(number)))
        with CaptureQueriesContext(connections[database]) as asked:
            shown = event_page_of(root, pk)
        counts.append(len(asked))
    assert counts[0] == counts[1] <= 10
    assert shown.count(">opened</span>") == 5
    assert "The first 5." in shown
    assert f'href="{url_of("events_app.event")}?q={MAIL}"' in shown


def test_the_list_shows_type_recipient_times_and_delivery(database: str, root: Client) -> None:
    first, _ = store_done(bounce("B1"), bounce("B2", event="open", timestamp="soon"))
    add_pending(first, state="dead")
    shown = page(root, "events_app.event")
    for text in (">bounced</span>", ">opened</span>", ">dead letter</span>", ">done</span>"):
        assert text in shown
    assert "2026-07-14 12:00:00 UTC" in shown
    assert '<td class="field-happened">–</td>' in shown


@pytest.mark.parametrize(
    ("query", "finds"),
    [
        ({"state": "dead"}, ["B1"]),
        ({"state": "retrying"}, ["B2"]),
        ({"state": "pending"}, ["B3"]),
        ({"state": "done"}, ["B4"]),
        ({"receiver": "shop"}, ["B1", "B2"]),
        ({"event_type__exact": "opened"}, ["B4"]),
        ({"since": "1h"}, ["B1", "B2", "B3", "B4"]),
        ({"until": "1h"}, []),
        ({"state": "dead", "receiver": "shop", "since": "1h"}, ["B1"]),
        ({"q": " Mira.Okafor@example.net "}, ["B1", "B2", "B3"]),
        ({"q": MAIL}, ["B1", "B2", "B3", "B4"]),
    ],
)
def test_events_are_filtered_and_found(
    database: str, root: Client, query: dict[str, str], finds: list[str]
) -> None:
    pks = store_done(
        bounce("B1"), bounce("B2"), bounce("B3"), bounce("B4", event="open", email="lena@example.org")
    )
    Event.objects.update(received_at=database_now(database))
    by_id = dict(zip(["B1", "B2", "B3", "B4"], pks, strict=True))
    add_pending(by_id["B1"], state="dead", receivers={"shop": TRACEBACK})
    add_pending(by_id["B2"], failures=1, receivers={"shop": TRACEBACK, "crm": ""})
    add_pending(by_id["B3"], receivers={"shop": ""})
    shown = page(root, "events_app.event", **query)
    assert [name for name, pk in by_id.items() if url_of("events_app.event", pk) in shown] == finds


def test_an_invalid_filter_shows_the_list_without_filters(database: str, root: Client) -> None:
    (pk,) = store_done(bounce())
    for query in ({"state": "\x00"}, {"since": "yesterday"}):
        response = root.get(url_of("events_app.event"), query, follow=True)
        assert url_of("events_app.event", pk) in response.content.decode()
