"""The outbox can be looked at in the admin, by who may, and is changed by nobody there."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from events_app.shared.admin.read_only import Capped
from events_app.shared.database import database_now
from sending_app.models import Mail, OpenCircuit, Recipient
from tests.support.operators import page, sign_in, url_of
from tests.support.sending.outbox_mails import all_parts, mail, only_part, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

MODELS = ("outboxmessage", "mail", "recipient", "opencircuit")


def one_of_each(database: str) -> dict[str, object]:
    """A row of each model, by its name; their ids."""
    put_in_outbox()
    now = database_now(database)
    pause = OpenCircuit.objects.create(
        account="abc", alias="default", opened_at=now, probe_at=now, reason="Not this key."
    )
    recipient = Recipient.objects.get()
    ids = (recipient.mail.message_id, recipient.mail_id, recipient.pk, pause.pk)
    return dict(zip(MODELS, ids, strict=True))


@pytest.mark.parametrize("model", MODELS)
def test_admin_pages_can_be_viewed(database: str, client: Client, model: str) -> None:
    pk = one_of_each(database)[model]
    assert "1 " in page(client, f"sending_app.{model}")
    shown = page(client, f"sending_app.{model}", pk)
    assert 'name="_save"' not in shown
    assert "Delete" not in shown


@pytest.mark.parametrize("model", MODELS)
def test_admin_pages_are_read_only(database: str, client: Client, model: str) -> None:
    pk = one_of_each(database)[model]
    for action, args in (("add", []), ("change", [pk]), ("delete", [pk])):
        url = reverse(f"admin:sending_app_{model}_{action}", args=args)
        assert client.post(url, {"state": "accepted"}).status_code == 403
    assert only_part().state == "waiting"


@pytest.mark.parametrize("model", ["outboxmessage", "opencircuit"])
def test_a_list_without_a_search_box_ignores_a_search_term(database: str, client: Client, model: str) -> None:
    one_of_each(database)
    assert "1 " in page(client, f"sending_app.{model}", q="nothing has this")


@pytest.mark.parametrize(("permission", "status"), [("view_mail", 200), ("view_recipient", 403)])
def test_admin_pages_require_the_view_permission(
    database: str, client: Client, permission: str, status: int
) -> None:
    sign_in(client, f"sending_app.{permission}")
    assert client.get(url_of("sending_app.mail")).status_code == status


@pytest.mark.parametrize("model", ["outboxmessage", "mail", "recipient"])
def test_lists_do_not_read_large_columns(database: str, client: Client, model: str) -> None:
    put_in_outbox()
    with CaptureQueriesContext(connections[database]) as asked:
        page(client, f"sending_app.{model}")
    assert not [one for one in asked if '"personalizations"' in one["sql"] or '."content"' in one["sql"]]


def test_search_finds_recipients_by_address_or_id(database: str, client: Client) -> None:
    put_in_outbox(mail("ann@xn--bcher-kva.example", "bo@example.com", batch=True))
    found = {row.address: str(row.message_id) for row in Recipient.objects.all()}
    for term in (" Ann@Bücher.example ", found["ann@xn--bcher-kva.example"].upper()):
        shown = page(client, "sending_app.recipient", q=term)
        assert "ann@xn--bcher-kva.example" in shown
        assert "bo@example.com" not in shown
    assert "bo@example.com" in page(client, "sending_app.recipient", q="bo@")
    assert "bo@example.com" not in page(client, "sending_app.recipient", q="o@")


def test_the_list_of_mails_shows_subject_recipients_and_error(database: str, client: Client) -> None:
    put_in_outbox(mail("ann@example.com", "bo@example.com", subject="Spring <sale>"))
    Mail.objects.update(error="The sender is <b>not</b> verified. " + "More words. " * 99)
    shown = page(client, "sending_app.mail")
    assert "Spring &lt;sale&gt;" in shown
    assert '<td class="field-first_recipient">ann@example.com</td><td class="field-others">+1</td>' in shown
    assert "The sender is &lt;b&gt;not&lt;/b&gt; verified. More" in shown
    assert shown.count("More words.") < 9


def test_no_list_shows_a_character_that_reorders_the_text(database: str, client: Client) -> None:
    pause = one_of_each(database)["opencircuit"]
    hostile = "denied\u202e"
    OpenCircuit.objects.filter(pk=pause).update(reason=hostile)
    Mail.objects.update(error=hostile)
    Recipient.objects.update(address=f"{hostile}@example.com")
    for model in ("mail", "recipient", "opencircuit"):
        shown = page(client, f"sending_app.{model}")
        assert "\u202e" not in shown
        assert "denied\\u202e" in shown


def test_search_finds_mails_by_whole_ids(database: str, client: Client) -> None:
    put_in_outbox(mail("ann@example.com", "bo@example.com", batch=True))
    put_in_outbox(mail("cy@example.com"))
    first, second = all_parts()
    Mail.objects.filter(pk=first.pk).update(x_message_id="W86EgYT6SQKk0lRflfLRsA")
    row = Recipient.objects.filter(mail=first).first()
    assert row
    sendgrids = ("W86EgYT6SQKk0lRflfLRsA", "W86EgYT6SQKk0lRflfLRsA.recvd-1")
    for term in (*sendgrids, f" {str(row.message_id).upper()} ", str(first.pk)):
        shown = page(client, "sending_app.mail", q=term)
        assert "1 mail" in shown
        assert reverse("admin:sending_app_mail_change", args=[first.pk]) in shown
        assert reverse("admin:sending_app_mail_change", args=[second.pk]) not in shown
    for term in ("W86EgYT6", str(row.message_id)[:8], "9" * 30, "\x01"):
        assert "0 mails" in page(client, "sending_app.mail", q=term)


def test_a_mail_page_hides_internal_columns(database: str, client: Client) -> None:
    put_in_outbox()
    Mail.objects.update(attempt_token=77_123_456, account="f1ngerpr1nt")
    shown = page(client, "sending_app.mail", only_part().pk)
    for hidden in ("77123456", "77,123,456", "f1ngerpr1nt"):
        assert hidden not in shown


@pytest.mark.parametrize("query", [{}, {"q": "W86EgYT6SQKk0lRflfLRsA"}])
def test_a_list_page_needs_a_constant_number_of_queries(
    database: str, client: Client, query: dict[str, str]
) -> None:
    counts = []
    for more in (1, 20):
        for _ in range(more):
            put_in_outbox()
        Mail.objects.update(x_message_id="W86EgYT6SQKk0lRflfLRsA")
        with CaptureQueriesContext(connections[database]) as asked:
            page(client, "sending_app.mail", **query)
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_mails_are_filtered_by_state(database: str, client: Client) -> None:
    put_in_outbox()
    assert "1 mail" in page(client, "sending_app.mail", state="waiting")
    assert "0 mails" in page(client, "sending_app.mail", state="parked")


def test_a_link_to_the_mails_of_a_state_chooses_the_state_in_the_filter(
    database: str, client: Client
) -> None:
    put_in_outbox()
    shown = re.sub(r">\s+<", "><", page(client, "sending_app.mail", state="parked"))
    assert re.search(r'<li class="selected"><a href="[^"]*state=parked[^"]*">parked</a>', shown)
    assert 'href="?state=failed"' in shown  # in place of the chosen one


def test_the_count_of_a_large_table_is_capped(
    database: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Capped, "MOST", 3)
    for _ in range(5):
        put_in_outbox()
    with CaptureQueriesContext(connections[database]) as asked:
        shown = page(client, "sending_app.recipient")
    assert "3 recipients" in shown
    assert [one for one in asked if "LIMIT 3" in one["sql"] and "COUNT" in one["sql"]]


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ({"lane": "bulk"}, 1),
        ({"lane": "mail"}, 2),
        ({"mailer": "default"}, 2),
        ({"twice": "yes"}, 1),
        ({"since": "1h"}, 3),
        ({"until": "2001-01-01"}, 0),
        ({"twice": "yes", "lane": "bulk"}, 0),
    ],
)
def test_mails_are_filtered(
    database: str, client: Client, anymail: Callable[..., None], query: dict[str, str], number: int
) -> None:
    anymail(SENDGRID_API_KEY="SG.one")
    for alias, bulk in (("default", True), ("default", False), ("news", False)):
        put_in_outbox(mail(bulk=bulk), alias)
    Mail.objects.filter(alias="news").update(sent_twice=True)
    assert f"{number} mail" in page(client, "sending_app.mail", **query)


def test_lists_of_a_message_and_of_a_mail_have_their_rows(database: str, client: Client) -> None:
    put_in_outbox(mail("ann@example.com", "bo@example.com"))
    put_in_outbox()
    first, _ = all_parts()
    assert "1 mail" in page(client, "sending_app.mail", message=first.message_id)
    assert "2 recipients" in page(client, "sending_app.recipient", mail=first.pk)
    assert "0 recipients" in page(client, "sending_app.recipient", mail="<b>")
    assert "<b>" not in page(client, "sending_app.recipient", mail="<b>")
    for number in ("9" * 30, "9" * 5000, "\u0663"):
        assert "0 recipients" in page(client, "sending_app.recipient", mail=number)


def test_a_message_page_counts_its_mails_and_recipients(database: str, client: Client) -> None:
    put_in_outbox(mail("ann@example.com", "bo@example.com", subject="Spring <sale>", batch=True))
    first = only_part()
    put_in_outbox(mail("cy@example.com"))
    Mail.objects.exclude(pk=first.pk).update(message=first.message_id, state="failed", error="<i>No</i>")
    Mail.objects.filter(pk=first.pk).update(state="accepted", accepted_at=database_now(database))
    Recipient.objects.filter(address="ann@example.com").update(status="bounced")
    shown = page(client, "sending_app.outboxmessage", first.message_id)
    assert "Spring &lt;sale&gt;" in shown
    assert "1 accepted, 1 failed" in shown
    assert "1 bounced, 1 sent, 1 waiting" in shown
    assert "&lt;i&gt;No" in shown
    assert f'href="{url_of("sending_app.mail", first.pk)}"' in shown


def test_a_message_page_of_many_mails_needs_no_more_queries(database: str, client: Client) -> None:
    put_in_outbox()
    pk = only_part().message_id
    counts = []
    for more in (0, 0, 120):  # the first fills the caches
        for _ in range(more):
            put_in_outbox()
        Mail.objects.update(message=pk)
        with CaptureQueriesContext(connections[database]) as asked:
            shown = page(client, "sending_app.outboxmessage", pk)
        counts.append(len(asked))
    assert counts[1] == counts[2]
    assert "All 121 mails" in shown
    assert not [one for one in asked if '"personalizations"' in one["sql"] or '."content"' in one["sql"]]


def test_a_paused_account_tells_why(database: str, client: Client) -> None:
    pk = one_of_each(database)["opencircuit"]
    OpenCircuit.objects.update(status_code=401, reason="<b>Not this key.</b>")
    shown = page(client, "sending_app.opencircuit", pk)
    assert "&lt;b&gt;Not this key.&lt;/b&gt;" in shown
    assert "Mend the API key" in shown


def test_a_recipient_page_shows_its_times_and_leads_to_its_mail(database: str, client: Client) -> None:
    put_in_outbox()
    recipient = Recipient.objects.get()
    Recipient.objects.update(status="delivered", opened_at=datetime(2026, 7, 14, 12, tzinfo=UTC))
    shown = page(client, "sending_app.recipient", recipient.pk)
    assert "2026-07-14 12:00:00 UTC" in shown
    assert f'href="{url_of("sending_app.mail", recipient.mail_id)}"' in shown
    assert str(recipient.message_id) in shown
