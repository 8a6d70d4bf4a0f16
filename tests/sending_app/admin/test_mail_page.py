"""The page of a mail tells its state, its history and its recipients, and leads to every related row."""

import re
from datetime import UTC, datetime

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django_celery_results.models import TaskResult

from events_app.models import Event, PendingDelivery
from sending_app.mail import AttachedFile
from sending_app.models import Mail, OpenCircuit, OutboxMessage, Recipient
from tests.support.operators import page, url_of
from tests.support.sending.mail_events import answer_to_last_mail, event_of_last_mail, receive_events
from tests.support.sending.outbox_mails import all_parts, mail, only_part, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

NOON = datetime(2026, 7, 14, 12, tzinfo=UTC)


def link(model: str, pk: int, app: str = "events_app") -> str:
    return f'href="{url_of(f"{app}.{model}", pk)}"'


def accept() -> None:
    Mail.objects.update(state="accepted", accepted_at=NOON, finished_at=NOON)


def test_the_timeline_shows_events_and_replies_with_seconds_and_links(database: str, client: Client) -> None:
    put_in_outbox()
    receive_events(event_of_last_mail(3, "delivered", response="250 OK"))
    reply = answer_to_last_mail(4)
    shown = page(client, "sending_app.mail", only_part().pk)
    assert '<time datetime="2026-07-14T12:00:03+00:00">2026-07-14 12:00:03 UTC</time>' in shown
    assert "250 OK" in shown
    assert link("event", Event.objects.get().pk) in shown
    assert link("inboundmail", reply.pk) in shown
    assert link("outboxmessage", only_part().message_id, "sending_app") in shown
    assert link("recipient", Recipient.objects.get().pk, "sending_app") in shown
    assert "&quot;event&quot;: &quot;delivered&quot;" in shown


def test_texts_of_strangers_are_escaped(database: str, client: Client) -> None:
    put_in_outbox(mail("<b>@example.com", subject="<script>\u202e", categories=["<tag>"]))
    Mail.objects.update(
        state="parked",
        error="<i>cut off</i>",
        log=[{"at": "2026-07-14T12:00:00+00:00", "what": "<i>cut off</i>"}],
    )
    receive_events(event_of_last_mail(3, "deferred", "<b>@example.com", response="<SMTP> \u202e"))
    answer_to_last_mail(4, subject="<u>Re</u>", sender="<s>@example.com")
    shown = page(client, "sending_app.mail", only_part().pk)
    for hostile in ("<script>", "<i>cut", "<b>@", "<SMTP>", "<u>", "<s>@", "<tag>", "\u202e"):
        assert hostile not in shown
    assert r"&lt;SMTP&gt; \u202e" in shown
    assert "&lt;i&gt;cut off&lt;/i&gt;" in shown


@pytest.mark.parametrize(
    ("event", "word", "advice"),
    [
        ("processed", "sent", "SendGrid has the mail"),
        ("delivered", "delivered", "the receiving server took the mail"),
        ("deferred", "deferred", "SendGrid tries again"),
        ("bounce", "bounced", "Ask the person for another address"),
        ("dropped", "rejected", "suppression list"),
    ],
)
def test_an_accepted_mail_is_as_its_recipient(
    database: str, client: Client, event: str, word: str, advice: str
) -> None:
    put_in_outbox()
    receive_events(event_of_last_mail(3, event))
    shown = page(client, "sending_app.mail", only_part().pk)
    assert f">{word}</span>" in shown.partition("Timeline")[0]
    assert advice in shown
    assert f">{word}</span>" in page(client, "sending_app.mail")


def test_a_batch_is_as_its_worst_recipient(database: str, client: Client) -> None:
    put_in_outbox(mail("a@example.com", "b@example.com", "c@example.com", batch=True))
    accept()
    for address, status in (("a@example.com", "delivered"), ("b@example.com", "bounced")):
        Recipient.objects.filter(address=address).update(status=status)
    Recipient.objects.filter(address="c@example.com").update(complained_at=NOON)
    for shown in (page(client, "sending_app.mail", only_part().pk), page(client, "sending_app.mail")):
        assert 'state-bad">bounced</span> 1 of 3' in shown
        assert 'state-bad">complained</span>' in shown
    assert "1 bounced, 1 delivered, 1 sent, 1 complained of 3" in page(
        client, "sending_app.mail", only_part().pk
    )


def test_a_waiting_mail_of_a_paused_account_leads_to_the_pause(database: str, client: Client) -> None:
    put_in_outbox()
    pause = OpenCircuit.objects.create(account="abc", alias="default", opened_at=NOON, probe_at=NOON)
    shown = page(client, "sending_app.mail", only_part().pk)
    assert "The account is paused now" in shown
    assert f'href="{url_of("sending_app.opencircuit", pause.pk)}"' in shown
    accept()
    assert "paused" not in page(client, "sending_app.mail", only_part().pk)


def test_an_event_that_waits_for_receivers_leads_to_its_delivery(database: str, client: Client) -> None:
    put_in_outbox()
    receive_events(event_of_last_mail(3, "delivered"))
    event = Event.objects.get()
    PendingDelivery.objects.update(state="dead", receivers={"shop": "Traceback"})
    shown = page(client, "sending_app.mail", only_part().pk)
    assert link("pendingdelivery", event.pk) in shown
    assert "dead letter for receivers" in shown


def test_the_last_attempt_leads_to_the_result_of_its_task(database: str, client: Client) -> None:
    put_in_outbox()
    Mail.objects.update(attempts=1, attempted_at=NOON, task_id="an-id")
    assert "result of the task" not in page(client, "sending_app.mail", only_part().pk)
    result = TaskResult.objects.create(task_id="an-id")
    shown = page(client, "sending_app.mail", only_part().pk)
    assert link("taskresult", result.pk, "django_celery_results") in shown


def test_a_split_mail_leads_to_its_first_mail_and_its_message(database: str, client: Client) -> None:
    put_in_outbox(mail("a@example.com", batch=True))
    (first,) = all_parts()
    put_in_outbox(mail("b@example.com", batch=True))
    part = all_parts()[1]
    Mail.objects.filter(pk=part.pk).update(split_from=first.pk, message=first.message_id, state="failed")
    shown = page(client, "sending_app.mail", part.pk)
    assert link("mail", first.pk, "sending_app") in shown
    assert f"mail 2 of 2 of <a {link('outboxmessage', first.message_id, 'sending_app')}>" in shown
    assert "(1 failed, 1 waiting)" in shown


def test_a_mail_sent_twice_says_so(database: str, client: Client) -> None:
    put_in_outbox()
    accept()
    Mail.objects.update(sent_twice=True)
    assert ">sent twice</span>" in page(client, "sending_app.mail", only_part().pk)


def test_the_head_of_the_content_is_shown(database: str, client: Client) -> None:
    file = AttachedFile(content=bytes(2048), filename="<invoice>.pdf", type="application/pdf")
    composed = mail(
        categories=["invoice"],
        custom_args={"order": "4711"},
        reply_to_list=[{"email": "help@example.com"}],
        attachments=[file],
    )
    put_in_outbox(composed)
    shown = page(client, "sending_app.mail", only_part().pk)
    for text in (
        "shop@example.com",
        "help@example.com",
        "invoice",
        "4711",
        "&lt;invoice&gt;.pdf",
        "2.0\xa0KB",
    ):
        assert text in shown
    assert "It is on its way" not in shown


def test_after_retention_the_page_says_that_the_content_was_removed(database: str, client: Client) -> None:
    put_in_outbox()
    OutboxMessage.objects.update(content=None, subject="")
    Mail.objects.update(personalizations=None)
    shown = page(client, "sending_app.mail", only_part().pk)
    assert "The content was removed at the end of its retention." in shown
    assert "Show the content" not in shown


@pytest.mark.parametrize("content", [b"", b"[]", b'{"body": {"from": 1, "content": 2, "categories": 3}}'])
def test_odd_content_breaks_no_page(database: str, client: Client, content: bytes) -> None:
    put_in_outbox()
    OutboxMessage.objects.update(content=content)
    page(client, "sending_app.mail", only_part().pk)


def queries_of_page(database: str, client: Client) -> tuple[int, str]:
    """The number of queries of the newest mail's page, and the page."""
    pk = all_parts()[-1].pk
    with CaptureQueriesContext(connections[database]) as asked:
        shown = page(client, "sending_app.mail", pk)
    return len(asked), shown


def test_many_recipients_need_no_more_queries(database: str, client: Client) -> None:
    put_in_outbox()
    page(client, "sending_app.mail", only_part().pk)  # fills the caches
    few, _ = queries_of_page(database, client)
    put_in_outbox(mail(*(f"p{number}@example.net" for number in range(1000)), batch=True))
    many, shown = queries_of_page(database, client)
    assert many == few
    assert shown.count("@example.net</a>") == 50
    assert "All 1000 recipients" in shown


def test_many_events_need_no_more_queries(database: str, client: Client) -> None:
    put_in_outbox()
    receive_events(event_of_last_mail(1, "open"))
    page(client, "sending_app.mail", only_part().pk)  # fills the caches
    few, _ = queries_of_page(database, client)
    receive_events(*(event_of_last_mail(number, "open") for number in range(500)))
    many, shown = queries_of_page(database, client)
    assert many <= few + 1  # counts the events that are not shown
    assert shown.count("<details>") == 50
    assert "451 later events not shown here." in shown


def test_the_page_reads_no_personalizations(database: str, client: Client) -> None:
    put_in_outbox()
    pk = only_part().pk
    with CaptureQueriesContext(connections[database]) as asked:
        page(client, "sending_app.mail", pk)
    # An action asks whether the column is null.
    assert not [query for query in asked if re.search('"personalizations"(?! IS NOT NULL)', query["sql"])]
