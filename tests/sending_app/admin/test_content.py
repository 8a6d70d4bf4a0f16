"""The content of a mail: only with the permission, with an audit line, and unable to act."""

import logging
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from events_app.shared.admin.content import POLICY
from sending_app.mail import AttachedFile, ComposedMail
from sending_app.models import Attachment, Mail, OutboxMessage
from tests.support.operators import sign_in
from tests.support.sending.outbox_mails import all_parts, mail, only_part, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

HTML = '<p>Hello <b>Ann</b></p><script src="https://example.com/x.js"></script>'


def get(client: Client, view: str, *args: object) -> Any:
    """The response of a page of a mail."""
    return client.get(reverse(f"admin:sending_app_mail_{view}", args=args))


def with_html() -> ComposedMail:
    content = [{"type": "text/plain", "value": "Hello <Ann>"}, {"type": "text/html", "value": HTML}]
    return mail(content=content)


def with_file() -> tuple[Mail, int]:
    put_in_outbox(
        mail(attachments=[AttachedFile(content=b"%PDF", filename="in/voice.pdf", type="text/html")])
    )
    part = all_parts()[-1]
    return part, Attachment.objects.get(message=part.message_id).pk


def test_the_page_shows_the_text_and_the_frame(database: str, client: Client) -> None:
    put_in_outbox(with_html())
    response = get(client, "content", only_part().pk)
    shown = response.content.decode()
    assert "Hello &lt;Ann&gt;" in shown
    assert "Hello <b>" not in shown
    url = reverse("admin:sending_app_mail_html", args=[only_part().pk])
    assert f'<iframe sandbox src="{url}"' in shown
    assert "no-store" in response["Cache-Control"]


def test_the_html_is_a_sandboxed_document(database: str, client: Client) -> None:
    put_in_outbox(with_html())
    response = get(client, "html", only_part().pk)
    assert response.content.decode() == HTML
    assert response["Content-Security-Policy"] == POLICY
    assert response["X-Frame-Options"] == "SAMEORIGIN"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "no-referrer"
    assert "no-store" in response["Cache-Control"]


def test_an_attachment_is_a_download(database: str, client: Client) -> None:
    part, file = with_file()
    response = get(client, "attachment", part.pk, file)
    assert response.content == b"%PDF"
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"] == 'attachment; filename="in_voice.pdf"'
    assert response["Content-Security-Policy"] == POLICY


def test_each_view_leaves_an_audit_line(
    database: str, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    part, file = with_file()
    put_in_outbox(with_html())
    pk = all_parts()[-1].pk
    with caplog.at_level(logging.INFO, "events_app.shared.admin.audit"):
        get(client, "content", pk)
        get(client, "html", pk)
        get(client, "attachment", part.pk, file)
    seen = [(entry.object_id, entry.change_message) for entry in LogEntry.objects.order_by("pk")]
    assert seen == [
        (str(pk), "Viewed: content."),
        (str(pk), "Viewed: HTML."),
        (str(part.pk), f"Viewed: attachment {file}."),
    ]
    assert "Viewed: HTML." in get(client, "history", pk).content.decode()
    user = LogEntry.objects.first()
    assert user
    assert caplog.messages[0] == f"User {user.user_id} viewed content of mail {pk}: content."
    assert "@" not in caplog.text


def test_the_page_of_the_mail_leaves_no_audit_line(database: str, client: Client) -> None:
    put_in_outbox(with_html())
    shown = get(client, "change", only_part().pk).content.decode()
    assert reverse("admin:sending_app_mail_content", args=[only_part().pk]) in shown
    assert not LogEntry.objects.exists()


def test_content_requires_the_permission(database: str, client: Client) -> None:
    part, file = with_file()
    views = {
        "content": (part.pk,),
        "html": (part.pk,),
        "attachment": (part.pk, file),
    }
    sign_in(client, "sending_app.view_mail")
    for name, args in views.items():
        assert get(client, name, *args).status_code == 403
    shown = get(client, "change", part.pk).content.decode()
    assert "You have no permission to view the content." in shown
    assert "/attachments/" not in shown
    assert not LogEntry.objects.exists()


def test_content_requires_the_permission_to_view_the_mail(database: str, client: Client) -> None:
    put_in_outbox(with_html())
    sign_in(client, "sending_app.view_content")
    assert get(client, "html", only_part().pk).status_code == 403


def test_a_wrong_address_of_content_is_not_found(database: str, client: Client) -> None:
    part, file = with_file()
    put_in_outbox()
    plain = all_parts()[-1]
    for name, *args in (
        ("content", 10**30),
        ("html", plain.pk),
        ("attachment", plain.pk, file),
        ("attachment", part.pk, 10**30),
        ("content", "x"),
    ):
        assert get(client, str(name), *args).status_code == 404
    assert not LogEntry.objects.exists()


def test_content_changes_nothing_by_post(database: str, client: Client) -> None:
    put_in_outbox(with_html())
    url = reverse("admin:sending_app_mail_html", args=[only_part().pk])
    assert client.post(url).status_code == 405


def test_merge_data_is_shown_for_the_first_recipients(database: str, client: Client) -> None:
    composed = mail(*(f"p{number}@example.com" for number in range(60)), batch=True)
    for number, each in enumerate(composed.personalizations):
        each.merge_data["name"] = f"<Ann {number}>"
    composed.shared.global_data["shop"] = "<Ours>"
    put_in_outbox(composed)
    shown = get(client, "content", only_part().pk).content.decode()
    assert "&lt;Ann 0&gt;" in shown
    assert "&lt;Ann 50&gt;" not in shown
    assert "10 more not shown here." in shown
    assert "&lt;Ours&gt;" in shown


def test_after_retention_there_is_no_content(database: str, client: Client) -> None:
    part, file = with_file()
    OutboxMessage.objects.update(content=None)
    Attachment.objects.all().delete()
    for name, args in (("content", [part.pk]), ("html", [part.pk]), ("attachment", [part.pk, file])):
        assert get(client, name, *args).status_code == 404


def test_the_content_of_a_batch_needs_a_constant_number_of_queries(database: str, client: Client) -> None:
    counts = []
    for number in (1, 1, 500):  # the first fills the caches
        put_in_outbox(mail(*(f"p{each}@example.net" for each in range(number)), batch=True))
        with CaptureQueriesContext(connections[database]) as asked:
            get(client, "content", all_parts()[-1].pk)
        counts.append(len(asked))
    assert counts[1] == counts[2]
