"""The outbox can be looked at in the admin, by who may, and is changed by nobody there."""

import pytest
from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Permission, User
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from events_app.shared.admin import Capped
from events_app.shared.database import database_now
from sending_app.models import Mail, OpenCircuit, Recipient
from tests.support.sending.mail_events import answer_to_last_mail, event_of_last_mail, receive_events
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


@pytest.fixture
def client(client: Client) -> Client:
    """Of somebody who may do everything."""
    client.force_login(User.objects.create_superuser("root"))
    return client


def page(client: Client, model: str, pk: object = None, **query: str) -> str:
    name = f"admin:sending_app_{model}_{'changelist' if pk is None else 'change'}"
    answer = client.get(reverse(name, args=[] if pk is None else [pk]), query)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize("model", MODELS)
def test_admin_pages_can_be_viewed(database: str, client: Client, model: str) -> None:
    pk = one_of_each(database)[model]
    assert "1 " in page(client, model)
    shown = page(client, model, pk)
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
    assert "1 " in page(client, model, q="nothing has this")


def test_admin_pages_require_the_view_permission(database: str, client: Client) -> None:
    somebody = User.objects.create_user("somebody", is_staff=True)
    client.force_login(somebody)
    url = reverse("admin:sending_app_mail_changelist")
    assert client.get(url).status_code == 403
    create_permissions(apps.get_app_config("sending_app"), verbosity=0)
    permission = Permission.objects.get(content_type__app_label="sending_app", codename="view_mail")
    somebody.user_permissions.add(permission)
    assert client.get(url).status_code == 200


def test_a_mail_page_shows_its_timeline_and_links_to_its_message(database: str, client: Client) -> None:
    put_in_outbox(mail("<b>@example.com", subject="<script>"))
    Mail.objects.update(state="parked", log=[{"at": "2026-07-14T12:00:00+00:00", "what": "<i>cut off</i>"}])
    receive_events(event_of_last_mail(3, "delivered", "<b>@example.com", response="250 <OK>"))
    found = answer_to_last_mail(4, subject="<u>Re</u>")
    shown = page(client, "mail", only_part().pk)
    assert f"answered ann@example.com inbound mail {found.pk}: &lt;u&gt;Re" in shown
    assert reverse("admin:sending_app_outboxmessage_change", args=[only_part().message_id]) in shown
    assert "&lt;b&gt;@example.com (to): delivered" in shown
    assert "2026-07-14 12:00:03 delivered" in shown
    assert "250 &lt;OK&gt;" in shown
    assert "&lt;i&gt;cut off&lt;/i&gt;" in shown
    message = page(client, "outboxmessage", only_part().message_id)
    assert reverse("admin:sending_app_mail_change", args=[only_part().pk]) in message
    assert "&lt;script&gt;" in message


@pytest.mark.parametrize("model", ["outboxmessage", "mail", "recipient"])
def test_admin_pages_do_not_read_large_columns(database: str, client: Client, model: str) -> None:
    put_in_outbox(mail(*(f"p{number}@example.net" for number in range(120)), batch=True))
    pk = Recipient.objects.latest("pk").pk if model == "recipient" else only_part().pk
    pk = only_part().message_id if model == "outboxmessage" else pk
    with CaptureQueriesContext(connections[database]) as asked:
        page(client, model)
        shown = page(client, model, pk)
    assert not [one for one in asked if '"personalizations"' in one["sql"] or '."content"' in one["sql"]]
    assert "p60@example.net" not in shown


def test_search_finds_recipients_by_whole_address_or_id(database: str, client: Client) -> None:
    put_in_outbox(mail("ann@xn--bcher-kva.example", "bo@example.com", batch=True))
    found = {row.address: str(row.message_id) for row in Recipient.objects.all()}
    for term in (" Ann@Bücher.example ", found["ann@xn--bcher-kva.example"].upper()):
        shown = page(client, "recipient", q=term)
        assert "ann@xn--bcher-kva.example" in shown
        assert "bo@example.com" not in shown
    assert "bo@example.com" not in page(client, "recipient", q="bo@")


def test_the_list_of_mails_shows_subject_recipients_and_error(database: str, client: Client) -> None:
    put_in_outbox(mail("ann@example.com", "bo@example.com", subject="Spring <sale>"))
    Mail.objects.update(error="The sender is <b>not</b> verified. " + "More words. " * 99)
    shown = page(client, "mail")
    assert "Spring &lt;sale&gt;" in shown
    assert '<td class="field-recipient_count">2</td>' in shown
    assert "The sender is &lt;b&gt;not&lt;/b&gt; verified. More" in shown
    assert shown.count("More words.") < 9


def test_search_finds_mails_by_whole_ids(database: str, client: Client) -> None:
    put_in_outbox(mail("ann@example.com", "bo@example.com", batch=True))
    put_in_outbox(mail("cy@example.com"))
    first, second = all_parts()
    Mail.objects.filter(pk=first.pk).update(x_message_id="W86EgYT6SQKk0lRflfLRsA")
    row = Recipient.objects.filter(mail=first).first()
    assert row
    sendgrids = ("W86EgYT6SQKk0lRflfLRsA", "W86EgYT6SQKk0lRflfLRsA.recvd-1")
    for term in (*sendgrids, f" {str(row.message_id).upper()} ", str(first.pk)):
        shown = page(client, "mail", q=term)
        assert "1 mail" in shown
        assert reverse("admin:sending_app_mail_change", args=[first.pk]) in shown
        assert reverse("admin:sending_app_mail_change", args=[second.pk]) not in shown
    for term in ("W86EgYT6", str(row.message_id)[:8], "9" * 30, "\x01"):
        assert "0 mails" in page(client, "mail", q=term)


def test_a_mail_page_hides_internal_columns(database: str, client: Client) -> None:
    put_in_outbox()
    Mail.objects.update(attempt_token=77_123_456, account="f1ngerpr1nt")
    shown = page(client, "mail", only_part().pk)
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
            page(client, "mail", **query)
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_mails_are_filtered_by_state(database: str, client: Client) -> None:
    put_in_outbox()
    assert "1 mail" in page(client, "mail", state__exact="waiting")
    assert "0 mails" in page(client, "mail", state__exact="parked")


def test_the_count_of_a_large_table_is_capped(
    database: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Capped, "MOST", 3)
    for _ in range(5):
        put_in_outbox()
    with CaptureQueriesContext(connections[database]) as asked:
        shown = page(client, "recipient")
    assert "3 recipients" in shown
    assert [one for one in asked if "LIMIT 3" in one["sql"] and "COUNT" in one["sql"]]
