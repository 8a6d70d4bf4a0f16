"""What came in can be looked at in the admin, by who may, and is changed by nobody there."""

from email.message import EmailMessage
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.storage import storages
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from events_app import admin
from events_app.inbound import storage, store
from events_app.models import InboundMail
from tests.support.events.stored_events import add_pending, open_event, store_done
from tests.support.inbound.mails import add_pending_mail, keep_mail, sample_mail, store_read_mail

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


MODELS = ("event", "pendingdelivery", "inboundmail", "pendinginbounddelivery")


@pytest.fixture
def client(client: Client) -> Client:
    """Of somebody who may do everything."""
    client.force_login(User.objects.create_superuser("root"))
    return client


def page(client: Client, model: str, pk: object = None, **query: str) -> str:
    name = f"admin:events_app_{model}_{'changelist' if pk is None else 'change'}"
    answer = client.get(reverse(name, args=[] if pk is None else [pk]), query)
    assert answer.status_code == 200
    return answer.content.decode()


def one_of_each() -> dict[str, int]:
    """A row of each model, by its name; their ids."""
    (event,) = store_done(open_event("A1"))
    mail = keep_mail(sample_mail()).pk
    add_pending(event, state="dead", receivers={"shop": "Traceback"})
    return {"event": event, "pendingdelivery": event, "inboundmail": mail, "pendinginbounddelivery": mail}


@pytest.mark.parametrize("model", MODELS)
def test_admin_pages_are_read_only(database: str, client: Client, model: str) -> None:
    pk = one_of_each()[model]
    assert "1 " in page(client, model)
    shown = page(client, model, pk)
    assert 'name="_save"' not in shown
    assert "Delete" not in shown
    for action, args in (("add", []), ("change", [pk]), ("delete", [pk])):
        url = reverse(f"admin:events_app_{model}_{action}", args=args)
        assert client.post(url, {"state": "pending", "webhook": "x"}).status_code == 403


def test_the_list_of_inbound_mails_shows_sender_recipient_subject_and_duplicates(
    database: str, client: Client
) -> None:
    first = store_read_mail(sender="mira@example.net", recipient="desk@example.com", subject="Where is <it>?")
    store_read_mail(answers="0c5c1a52", duplicate_of_id=first)
    shown = page(client, "inboundmail")
    for said in (
        "mira@example.net",
        "desk@example.com",
        "Where is &lt;it&gt;?",
        "0c5c1a52",
        "2 inbound mails",
    ):
        assert said in shown
    assert f'<td class="field-duplicate_of_id">{first}</td>' in shown


def test_an_inbound_mail_page_shows_its_escaped_text(database: str, client: Client) -> None:
    mail = sample_mail(text="Where is it?\n<script>alert(1)</script> https://example.org/\n")
    mail.add_alternative("<b>Where is it?</b>", subtype="html")
    shown = page(client, "inboundmail", keep_mail(mail).pk)
    assert "Where is it?<br>&lt;script&gt;alert(1)&lt;/script&gt; https://example.org/" in shown
    assert "<script>alert" not in shown
    assert 'href="https://example.org' not in shown
    assert "&lt;b&gt;Where" not in shown


def test_html_is_shown_as_escaped_source(database: str, client: Client) -> None:
    mail = EmailMessage()
    mail.set_content("<img src=x onerror='alert(1)'>" + "x" * 20_000, subtype="html")
    shown = page(client, "inboundmail", keep_mail(mail).pk)
    assert "&lt;img src=x onerror=&#x27;alert(1)&#x27;&gt;xxx" in shown
    assert "<img src=x" not in shown
    assert "x" * admin.MOST_TEXT not in shown
    assert "…" in shown


def test_an_unreadable_inbound_mail_page_says_why_it_has_no_text(database: str, client: Client) -> None:
    assert "The post is no multipart form" in page(
        client, "inboundmail", keep_mail(b"nothing of the kind").pk
    )
    gone = keep_mail(sample_mail())
    storages[storage.ALIAS].delete(gone.file)
    assert "The file with the post is not in the storage." in page(client, "inboundmail", gone.pk)
    store.save_mail("inbound", file="nowhere", size=1, digest=b"", content_type="")
    assert "is not in the storage" in page(client, "inboundmail", InboundMail.objects.latest("pk").pk)


def test_the_list_of_inbound_mails_reads_no_files(
    database: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_mail(sample_mail())
    monkeypatch.setattr(storage, "read_file", lambda name: pytest.fail("It was read."))
    assert "1 inbound mail" in page(client, "inboundmail")


@pytest.mark.parametrize(
    "term", ["70001", " Mira@example.net ", "desk@example.com", "<a@b.example>", "a@b.example", "0c5c1a52"]
)
def test_search_finds_inbound_mails_by_whole_values(database: str, client: Client, term: str) -> None:
    fields: dict[str, Any] = {"sender": "mira@example.net", "recipient": "desk@example.com"}
    store_read_mail(pk=70001, message_id="<a@b.example>", answers="0c5c1a52", **fields)
    store_read_mail(pk=70002, sender="lena@example.org")
    shown = page(client, "inboundmail", q=term)
    assert "1 inbound mail" in shown
    assert reverse("admin:events_app_inboundmail_change", args=[70001]) in shown
    assert "0 inbound mails" in page(client, "inboundmail", q=term.strip()[:-2])


@pytest.mark.parametrize("query", [{}, {"q": "mira@example.net"}])
def test_a_list_page_needs_a_constant_number_of_queries(
    database: str, client: Client, query: dict[str, str]
) -> None:
    counts = []
    for more in (1, 20):
        first = store_read_mail(sender="mira@example.net")
        for _ in range(more):
            add_pending_mail(store_read_mail(sender="mira@example.net", duplicate_of_id=first))
        with CaptureQueriesContext(connections[database]) as asked:
            page(client, "inboundmail", **query)
            page(client, "pendinginbounddelivery")
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_pending_work_is_filtered_by_state_and_shows_its_pending_receivers(
    database: str, client: Client
) -> None:
    add_pending_mail(store_read_mail(), state="dead", receivers={"desk": "Traceback", "bank": ""})
    add_pending_mail(store_read_mail())
    shown = page(client, "pendinginbounddelivery", state__exact="dead")
    assert "1 pending inbound delivery" in shown
    assert "desk" in shown
    assert '<td class="field-pending_receivers">all</td>' in page(
        client, "pendinginbounddelivery", state__exact="pending"
    )
