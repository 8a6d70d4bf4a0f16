"""The lists of dead letters and pending deliveries."""

import re
from typing import Any

import pytest
from django.test import Client

from events_app.admin import filters
from events_app.models import PendingDelivery
from events_app.signals import ReceiverSignal
from tests.support.commands import TRACEBACK
from tests.support.events.stored_events import add_pending, open_event, store_done
from tests.support.inbound.mails import add_pending_mail, store_read_mail
from tests.support.operators import page, sign_in, url_of

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


def test_a_list_shows_events_with_the_errors_of_failed_receivers(database: str, root: Client) -> None:
    (pk,) = store_done(open_event("A1"))
    failed = {"shop": TRACEBACK, "bank": "OSError: " + "x" * 500, "desk": "Away.", "crm": "Away."}
    add_pending(pk, state="dead", failures=3, receivers={**failed, "later": ""})
    shown = page(root, "events_app.pendingdelivery")
    for text in (
        '<span class="state state-bad">dead letter</span>',
        f'<a href="{url_of("events_app.event", pk)}">{pk}</a>',
        ">opened</span>",
        "mira.okafor@example.net",
        "<div><strong>crm</strong>: Away.</div>",
        "and 1 more",
        '<td class="field-failures">3</td>',
        '<td class="field-shown_due">–</td>',
        "Dead letters and pending deliveries of events",
    ):
        assert text in shown
    assert "x" * 200 not in shown


def test_a_list_shows_inbound_mails_with_why_they_are_pending(database: str, root: Client) -> None:
    first = store_read_mail(sender="mira@example.net", subject="Where is <it>?")
    second = store_read_mail()
    add_pending_mail(first, state="dead", error="The post is <b>no</b> multipart form.")
    add_pending_mail(second, replay=True)
    shown = page(root, "events_app.pendinginbounddelivery")
    for text in (
        f'<a href="{url_of("events_app.inboundmail", first)}">{first}</a>',
        "mira@example.net",
        "Where is &lt;it&gt;?",
        "The post is &lt;b&gt;no&lt;/b&gt; multipart form.",
        ">retrying</span>",
        "replay",
        "<time datetime=",
    ):
        assert text in shown


def test_the_page_of_a_delivery_is_the_page_of_its_event_or_mail(database: str, root: Client) -> None:
    (pk,) = store_done(open_event("A1"))
    add_pending(pk)
    mail = store_read_mail()
    for done in (False, True):
        response = root.get(url_of("events_app.pendingdelivery", pk))
        assert response["Location"] == url_of("events_app.event", pk)
        response = root.get(url_of("events_app.pendinginbounddelivery", mail))
        assert response["Location"] == url_of("events_app.inboundmail", mail)
        if not done:
            PendingDelivery.objects.all().delete()


@pytest.mark.parametrize(
    ("query", "finds"),
    [
        ({"state": "dead"}, [1]),
        ({"state": "retrying"}, [2]),
        ({"state": "pending"}, [3]),
        ({"receiver": "shop"}, [1, 2]),
        ({"receiver": "shop", "state": "retrying"}, [2]),
        ({"since": "2026-07-14T13:00"}, [3]),
        ({"until": "2026-07-14T13:00"}, [1, 2]),
    ],
)
@pytest.mark.parametrize("model", ["pendingdelivery", "pendinginbounddelivery"])
def test_deliveries_are_filtered(
    database: str, root: Client, model: str, query: dict[str, str], finds: list[int]
) -> None:
    columns: list[dict[str, Any]] = [
        {"state": "dead", "receivers": {"shop": TRACEBACK}},
        {"failures": 1, "receivers": {"shop": TRACEBACK, "bank": ""}},
        {"receivers": {"shop": ""}},
    ]
    events = store_done(*(open_event(f"A{number}") for number in range(3)))
    for number, (event, values) in enumerate(zip(events, columns, strict=True)):
        add_pending(event, **values)
        received_at = f"2026-07-14T1{2 + number // 2}:00:00Z"
        type(PendingDelivery.objects.get(pk=event).event).objects.filter(pk=event).update(
            received_at=received_at
        )
        add_pending_mail(store_read_mail(pk=event, received_at=received_at), **values)
    shown = page(root, f"events_app.{model}", **query)
    of = "event" if model == "pendingdelivery" else "inboundmail"
    links = [url_of(f"events_app.{of}", event) for event in events]
    assert [number for number, link in enumerate(links, 1) if f'"{link}"' in shown] == finds


def test_dead_letters_are_filtered_by_the_type_of_their_event(database: str, root: Client) -> None:
    first, second = store_done(open_event("A1"), {**open_event("A2"), "event": "bounce"})
    for pk in (first, second):
        add_pending(pk, state="dead")
    shown = page(root, "events_app.pendingdelivery", type="bounced")
    assert url_of("events_app.event", second) in shown
    assert url_of("events_app.event", first) not in shown


def test_the_receivers_of_the_newest_dead_letters_can_be_chosen(
    database: str, root: Client, monkeypatch: pytest.MonkeyPatch, tracking: ReceiverSignal
) -> None:
    monkeypatch.setattr(filters, "NEWEST", 2)
    for number, name in enumerate(["old", "shop", "<b>"]):
        (pk,) = store_done(open_event(f"A{number}"))
        add_pending(pk, state="dead", receivers={name: TRACEBACK, "not failed": ""})
    tracking.connect(lambda **_: None, weak=False, dispatch_uid="crm")
    shown = page(root, "events_app.pendingdelivery")
    assert re.findall(r'"\?receiver=([^"&]+)', shown) == ["%3Cb%3E", "crm", "shop"]
    assert "?receiver=" not in page(root, "events_app.pendinginbounddelivery")


def test_without_the_permission_a_list_masks_senders(database: str, client: Client) -> None:
    sign_in(client, "events_app.view_pendinginbounddelivery")
    mail = store_read_mail(sender="mira@example.net")
    add_pending_mail(mail, state="dead", error="ValueError: mira@example.net")
    shown = page(client, "events_app.pendinginbounddelivery")
    assert "m…@example.net" in shown
    assert "***@example.net" in shown
    assert "mira" not in shown
