"""The list, the page and the content of inbound mails."""

import logging
from email.message import EmailMessage
from typing import Any

import pytest
from django.core.files.storage import storages
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events_app.admin import inbound_content, inbound_page
from events_app.inbound import storage, store
from events_app.shared.admin.content import POLICY
from events_app.shared.admin.masking import HIDDEN
from fake_sendgrid import inbound_form
from tests.support.inbound.mails import (
    add_pending_mail,
    deliver_mails,
    keep_mail,
    sample_mail,
    store_read_mail,
)
from tests.support.operators import audit_lines, page, sign_in, url_of

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

MAIL = "0c5c1a52-93b8-4f06-9a0d-6c2b6f3c8f10"
MODEL = "events_app.inboundmail"
QUOTE = "Here.\n\nOn Mon, 13 Jul 2026 at 10:00, Desk <desk@parse.example.com> wrote:\n> Where?\n"


def rich_mail() -> EmailMessage:
    """A mail with a quote, HTML, and two files."""
    mail = sample_mail(text=QUOTE)
    mail["Cc"] = "Lena <lena@example.org>"
    mail["X-Note"] = "<b>note</b>"
    mail.add_alternative("<img src=x onerror='alert(1)'><p>Here.</p>", subtype="html")
    mail.add_attachment(b"PDF", maintype="application", subtype="pdf", filename="<i>.pdf")
    mail.add_attachment(b"<script>", maintype="text", subtype="html", filename="page.html")
    return mail


def content_page(client: Client, pk: int) -> str:
    response = client.get(url_of(MODEL, pk, "content"))
    assert response.status_code == 200
    return response.content.decode()


def test_a_page_shows_a_mail_without_its_content_and_leaves_no_audit_line(
    database: str, root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store_read_mail()
    pk = store_read_mail(
        sender="mira@example.net",
        recipient="desk@example.com",
        subject="Where is <it>?",
        message_id="<a@b.example>",
        answers=MAIL,
        duplicate_of_id=first,
        key=b"k",
    )
    monkeypatch.setattr(storage, "read_file", lambda name: pytest.fail("A file was read."))
    shown = page(root, MODEL, pk)
    for text in (
        f"<h1>Inbound mail {pk}</h1>",
        "mira@example.net",
        "desk@example.com",
        "Where is &lt;it&gt;?",
        "&lt;a@b.example&gt;",
        "2026-07-14 12:00:00 UTC",
        f'href="{url_of("sending_app.mail", MAIL, "of_message_id")}"',
        f'<a href="{url_of(MODEL, first)}">inbound mail {first}</a>',
        '<span class="state state-good">done</span>',
        f'href="{url_of(MODEL, pk, "content")}"',
    ):
        assert text in shown
    assert f'<a href="{url_of(MODEL, pk)}">inbound mail {pk}</a>' in page(root, MODEL, first)
    assert audit_lines() == []


def test_a_page_says_that_a_mail_is_unread_and_why_it_is_a_dead_letter(database: str, root: Client) -> None:
    mail = keep_mail(b"nothing of the kind")
    assert "No worker has read this mail so far" in page(root, MODEL, mail.pk)
    deliver_mails()
    shown = page(root, MODEL, mail.pk)
    assert ">dead letter</span>" in shown
    assert "The post is no multipart form" in shown


def test_the_queries_of_a_page_do_not_grow_with_its_duplicates(
    database: str, root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbound_page, "FIRST", 5)
    first = store_read_mail()
    page(root, MODEL, first)
    counts = []
    for number in (1, 20):
        for _ in range(number):
            store_read_mail(duplicate_of_id=first)
        with CaptureQueriesContext(connections[database]) as asked:
            shown = page(root, MODEL, first)
        counts.append(len(asked))
    assert counts[0] == counts[1] <= 10
    assert shown.count('/">inbound mail ') == 5
    assert "and more" in shown


def test_the_content_shows_texts_headers_checks_and_files(database: str, root: Client) -> None:
    form = inbound_form.raw_form(rich_mail(), envelope_to=["desk@parse.example.com"], spam=7.5)
    mail = keep_mail(form)
    shown = content_page(root, mail.pk)
    for text in (
        "Zoë &lt;Zoe@example.org&gt;",
        "Lena &lt;lena@example.org&gt;",
        "A question",
        "Text, without quoted mails",
        "&gt; Where?",
        "X-Note: &lt;b&gt;note&lt;/b&gt;",
        "<dt>Spam</dt><dd>yes</dd>",
        "<dt>Spam score</dt><dd>7.5</dd>",
        "<dt>SPF</dt>",
        "&lt;i&gt;.pdf",
        "<td>application/pdf</td><td>3</td><td>attached</td>",
        "<dt>Envelope to</dt><dd>desk@parse.example.com</dd>",
    ):
        assert text in shown
    assert "onerror" not in shown
    assert audit_lines() == ["Viewed: content."]


def test_a_text_without_a_quote_is_shown_once(database: str, root: Client) -> None:
    shown = content_page(root, keep_mail(sample_mail(text="<script>alert(1)</script> Where?")).pk)
    assert shown.count("&lt;script&gt;alert(1)&lt;/script&gt; Where?") == 1
    assert "<script>alert" not in shown
    assert "quoted" not in shown


def test_long_texts_and_many_files_are_cut(
    database: str, root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbound_content, "MOST_TEXT", 100)
    monkeypatch.setattr(inbound_content, "FIRST", 2)
    mail = sample_mail(text="x" * 70 + " " + "y" * 70)
    for number in range(3):
        mail.add_attachment(b"", maintype="application", subtype="pdf", filename=f"{number}.pdf")
    shown = content_page(root, keep_mail(mail).pk)
    assert "y" * 29 + "…" in shown
    assert "1.pdf" in shown
    assert "2.pdf" not in shown
    assert "And 1 more: download the mail." in shown


def test_html_is_a_sandboxed_document_of_its_own(
    database: str, root: Client, caplog: pytest.LogCaptureFixture
) -> None:
    mail = keep_mail(rich_mail())
    with caplog.at_level(logging.INFO):
        response = root.get(url_of(MODEL, mail.pk, "html"))
    assert "onerror='alert(1)'" in response.content.decode()
    assert response["Content-Security-Policy"] == POLICY
    assert response["X-Frame-Options"] == "SAMEORIGIN"
    assert audit_lines() == ["Viewed: HTML."]
    assert f"viewed content of inbound mail {mail.pk}" in caplog.text
    assert "example.org" not in caplog.text
    plain = keep_mail(sample_mail())
    assert root.get(url_of(MODEL, plain.pk, "html")).status_code == 404


def file_url(pk: int, number: int) -> str:
    return url_of(MODEL, pk, "content").replace("/content/", f"/file/{number}/")


def test_files_the_mail_and_the_post_are_downloads(database: str, root: Client) -> None:
    mail = keep_mail(rich_mail())
    pk = mail.pk
    expected: dict[str, Any] = {
        file_url(pk, 0): (b"PDF", "<i>.pdf"),
        file_url(pk, 1): (b"<script>", "page.html"),
        url_of(MODEL, pk, "mail"): (store.parse_mail(mail).message.as_bytes(), f"inbound-{pk}.eml"),
        url_of(MODEL, pk, "post"): (store.body(mail), f"inbound-{pk}.form"),
    }
    for url, (content, name) in expected.items():
        response = root.get(url)
        assert response.content == content
        assert response["Content-Type"] == "application/octet-stream"
        assert response["Content-Disposition"] == f'attachment; filename="{name}"'
        assert response["Content-Security-Policy"] == POLICY
    assert root.get(file_url(pk, 2)).status_code == 404
    viewed = ["file 1", "file 2", "the whole mail", "the whole post"]
    assert audit_lines() == [f"Viewed: {name}." for name in viewed]
    history = root.get(url_of(MODEL, pk, "history")).content.decode()
    assert "Viewed: the whole post." in history


@pytest.mark.parametrize("view", ["content", "html", "mail", "post", "file"])
def test_content_requires_a_permission_of_its_own(database: str, client: Client, view: str) -> None:
    sign_in(client, "events_app.view_inboundmail", "events_app.view_addresses")
    pk = keep_mail(rich_mail()).pk
    url = file_url(pk, 0) if view == "file" else url_of(MODEL, pk, view)
    assert client.get(url).status_code == 403
    assert url not in page(client, MODEL, pk)
    assert "You have no permission to view the content" in page(client, MODEL, pk)
    assert audit_lines() == []


def test_content_requires_the_permission_to_view_mails(database: str, client: Client) -> None:
    sign_in(client, "events_app.view_content", "events_app.view_addresses")
    assert client.get(url_of(MODEL, keep_mail(rich_mail()).pk, "content")).status_code == 403


def test_without_the_permission_addresses_are_masked(database: str, client: Client) -> None:
    sign_in(client, "events_app.view_inboundmail", "events_app.view_content")
    mail = keep_mail(rich_mail())
    deliver_mails()
    for shown in (page(client, MODEL), page(client, MODEL, mail.pk), content_page(client, mail.pk)):
        assert "z…@example.org" in shown.lower()
        assert "zoe@example.org" not in shown.lower()
    assert HIDDEN in content_page(client, mail.pk)
    assert "lena@" not in content_page(client, mail.pk)
    for view in ("mail", "post"):
        assert client.get(url_of(MODEL, mail.pk, view)).status_code == 403
        assert url_of(MODEL, mail.pk, view) not in content_page(client, mail.pk)


def test_a_missing_file_and_an_unreadable_post_are_told(database: str, root: Client) -> None:
    gone = keep_mail(rich_mail())
    storages[storage.ALIAS].delete(gone.file)
    assert "The file with the post is not in the storage." in content_page(root, gone.pk)
    unreadable = keep_mail(b"nothing of the kind").pk
    shown = content_page(root, unreadable)
    assert "The post is no multipart form" in shown
    assert url_of(MODEL, unreadable, "mail") not in shown
    assert root.get(url_of(MODEL, unreadable, "post")).content == b"nothing of the kind"
    for pk, views in ((gone.pk, ("html", "mail", "post")), (unreadable, ("html", "mail"))):
        for view in views:
            assert root.get(url_of(MODEL, pk, view)).status_code == 404
    assert audit_lines() == ["Viewed: the whole post."]


def test_the_content_of_no_mail_is_not_found(database: str, root: Client) -> None:
    for pk in (404, int("9" * 18), int("9" * 30)):
        assert root.get(url_of(MODEL, pk, "content")).status_code == 404


def test_the_list_shows_mails_and_reads_no_files(
    database: str, root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "read_file", lambda name: pytest.fail("A file was read."))
    first = store_read_mail(sender="mira@example.net", recipient="desk@example.com", subject="Where is <it>?")
    second = store_read_mail(answers=MAIL, duplicate_of_id=first)
    add_pending_mail(second, state="dead")
    shown = page(root, MODEL)
    for text in (
        "mira@example.net",
        "desk@example.com",
        "Where is &lt;it&gt;?",
        f'href="{url_of("sending_app.mail", MAIL, "of_message_id")}"',
        f'<td class="field-original"><a href="{url_of(MODEL, first)}">{first}</a></td>',
        ">dead letter</span>",
        ">done</span>",
        "2026-07-14 12:00:00 UTC",
        "2 inbound mails",
    ):
        assert text in shown


@pytest.mark.parametrize(
    ("query", "finds"),
    [
        ({"state": "dead"}, [1]),
        ({"receiver": "desk"}, [1]),
        ({"since": "2026-07-14T12:00"}, [1, 2]),
        ({"until": "2026-07-14T12:00"}, []),
        ({"q": "70001"}, [1]),
        ({"q": " Mira@example.net "}, [1]),
        ({"q": "desk@example.com"}, [1]),
        ({"q": "<a@b.example>"}, [1]),
        ({"q": "a@b.example"}, [1]),
        ({"q": MAIL}, [1]),
    ],
)
def test_mails_are_filtered_and_found(
    database: str, root: Client, query: dict[str, str], finds: list[int]
) -> None:
    fields: dict[str, Any] = {"sender": "mira@example.net", "recipient": "desk@example.com"}
    store_read_mail(pk=70001, message_id="<a@b.example>", answers=MAIL, **fields)
    store_read_mail(pk=70002, sender="lena@example.org")
    add_pending_mail(70001, state="dead", receivers={"desk": "Away."})
    shown = page(root, MODEL, **query)
    assert [number for number in (1, 2) if url_of(MODEL, 70000 + number) in shown] == finds
