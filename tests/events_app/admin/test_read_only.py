"""The lists and pages of events, inbound mails and deliveries: who may open them, and what they cost."""

from collections.abc import Callable

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.support.commands import TRACEBACK
from tests.support.events.stored_events import add_pending, open_event, store_done
from tests.support.inbound.mails import add_pending_mail, keep_mail, sample_mail, store_read_mail
from tests.support.operators import page, sign_in, url_of

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

MODELS = ("event", "pendingdelivery", "inboundmail", "pendinginbounddelivery")


def one_of_each() -> dict[str, int]:
    """A row of each model, by its name; their ids."""
    (event,) = store_done(open_event("A1"))
    mail = keep_mail(sample_mail()).pk
    add_pending(event, state="dead", receivers={"shop": TRACEBACK})
    return {"event": event, "pendingdelivery": event, "inboundmail": mail, "pendinginbounddelivery": mail}


@pytest.mark.parametrize("model", MODELS)
def test_no_page_changes_a_row(database: str, root: Client, model: str) -> None:
    pk = one_of_each()[model]
    shown = root.get(url_of(f"events_app.{model}", pk), follow=True).content.decode()
    assert 'name="_save"' not in shown
    assert "Delete" not in shown
    for view, of in (("add", None), ("change", pk), ("delete", pk)):
        url = url_of(f"events_app.{model}", of, view)
        assert root.post(url, {"state": "pending", "webhook": "x"}).status_code == 403


@pytest.mark.parametrize("model", MODELS)
def test_lists_and_pages_require_the_view_permission(database: str, client: Client, model: str) -> None:
    pk = one_of_each()[model]
    sign_in(client)
    assert client.get(url_of(f"events_app.{model}")).status_code == 403
    assert client.get(url_of(f"events_app.{model}", pk)).status_code == 403


@pytest.mark.parametrize("model", MODELS)
def test_a_page_of_a_row_that_does_not_exist_leads_to_the_index(
    database: str, root: Client, model: str
) -> None:
    for pk in (404, "9" * 30, "a/b", "\x00"):
        assert root.get(url_of(f"events_app.{model}", pk), follow=True).status_code == 200


@pytest.mark.parametrize("model", MODELS)
def test_a_question_for_the_head_of_a_page_is_answered_as_for_the_page(
    database: str, root: Client, model: str
) -> None:
    pk = one_of_each()[model]
    for url in (url_of(f"events_app.{model}"), url_of(f"events_app.{model}", pk)):
        assert root.head(url).status_code == root.get(url).status_code < 400


def test_a_list_has_the_name_of_its_rows_as_its_title(database: str, root: Client) -> None:
    shown = page(root, "events_app.pendingdelivery")
    assert "<h1>Dead letters and pending deliveries of events</h1>" in shown
    assert "to view" not in shown


def _events(number: int) -> None:
    for pk in store_done(*(open_event(f"{number}-{more}", anymail_id="0c5c1a52") for more in range(number))):
        add_pending(pk, state="dead", receivers={"shop": TRACEBACK})


def _mails(number: int) -> None:
    first = store_read_mail(answers="0c5c1a52")
    for _ in range(number):
        add_pending_mail(store_read_mail(duplicate_of_id=first, answers="0c5c1a52"), state="dead")


@pytest.mark.parametrize(
    ("model", "add"),
    [
        ("event", _events),
        ("pendingdelivery", _events),
        ("inboundmail", _mails),
        ("pendinginbounddelivery", _mails),
    ],
)
def test_a_list_needs_a_constant_number_of_queries(
    database: str, root: Client, model: str, add: Callable[[int], None]
) -> None:
    page(root, f"events_app.{model}")
    counts = []
    for number in (1, 20):
        add(number)
        with CaptureQueriesContext(connections[database]) as asked:
            page(root, f"events_app.{model}")
            page(root, f"events_app.{model}", state="dead", receiver="shop", since="1h")
        counts.append(len(asked))
    assert counts[0] == counts[1] <= 16


@pytest.mark.parametrize("model", MODELS)
def test_lists_read_no_large_columns(database: str, root: Client, model: str) -> None:
    one_of_each()
    with CaptureQueriesContext(connections[database]) as asked:
        page(root, f"events_app.{model}")
    assert not [query for query in asked if '"raw"' in query["sql"]]
