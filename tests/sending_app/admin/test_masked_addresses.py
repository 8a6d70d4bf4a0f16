"""Addresses are masked for users without the permission to view addresses."""

import pytest
from django.test import Client

from sending_app.models import Mail, Recipient
from tests.support.operators import page, sign_in, sign_in_superuser, url_of
from tests.support.sending.mail_events import answer_to_last_mail, event_of_last_mail, receive_events
from tests.support.sending.outbox_mails import mail, only_part, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

VIEWS = [f"sending_app.view_{model}" for model in ("mail", "outboxmessage", "recipient")]


@pytest.fixture
def client() -> Client:
    """A client that sees events and mails, and no address."""
    client = Client()
    views = (*VIEWS, "events_app.view_event", "events_app.view_inboundmail")
    sign_in(client, *views, "sending_app.view_content")
    return client


def test_no_page_shows_an_address(database: str, client: Client) -> None:
    put_in_outbox(
        mail("ann@example.com", subject="For ann@example.com", custom_args={"of": "ann@example.com"})
    )
    receive_events(event_of_last_mail(3, "bounce", reason="550 no mailbox of ann", type="bounce"))
    answer_to_last_mail(4, subject="From ann@example.com")
    Mail.objects.update(error="ann@example.com is refused")
    part, recipient = only_part(), Recipient.objects.get()
    pages = {
        "mail": page(client, "sending_app.mail", part.pk),
        "mails": page(client, "sending_app.mail"),
        "recipient": page(client, "sending_app.recipient", recipient.pk),
        "recipients": page(client, "sending_app.recipient"),
        "message": page(client, "sending_app.outboxmessage", part.message_id),
        "messages": page(client, "sending_app.outboxmessage"),
        "content": client.get(url_of("sending_app.mail", part.pk, "content")).content.decode(),
    }
    assert [name for name, shown in pages.items() if "ann@example.com" in shown] == []
    assert "a…@example.com" in pages["mail"]
    assert "a…@example.com" in pages["recipients"]
    assert "no mailbox of ann" not in pages["mail"]
    assert "Posted JSON" not in pages["mail"].partition("<ol")[2]
    assert "no permission to view addresses" in pages["mail"]


def test_merge_data_quotes_no_address(database: str, client: Client) -> None:
    composed = mail("ann@example.com", "bo@example.com", batch=True)
    for each in composed.personalizations:
        each.merge_data["login"] = each.to[0]["email"]
    composed.shared.global_data["help"] = "desk@example.com"
    put_in_outbox(composed)
    shown = client.get(url_of("sending_app.mail", only_part().pk, "content")).content.decode()
    assert "***@example.com" in shown
    for address in ("ann@", "bo@", "desk@"):
        assert address not in shown


def test_events_and_replies_of_a_mail_follow_the_permissions_of_their_own_pages(
    database: str, client: Client
) -> None:
    put_in_outbox()
    receive_events(event_of_last_mail(3, "delivered"))
    answer_to_last_mail(4, sender="lena@example.org", subject="A secret")
    pk = only_part().pk
    sees = {}
    for name, permissions in {
        "mails": (),
        "events": ("view_event", "view_inboundmail"),
        "addresses": ("view_event", "view_inboundmail", "view_addresses"),
    }.items():
        received = (f"events_app.{permission}" for permission in permissions)
        sign_in(client, "sending_app.view_mail", "sending_app.view_addresses", *received, name=name)
        shown = page(client, "sending_app.mail", pk)
        assert "ann@example.com" in shown
        texts = ("A secret", "lena@example.org", "Posted JSON</summary>")
        sees[name] = [text for text in texts if text in shown]
    assert sees == {
        "mails": [],
        "events": ["A secret"],
        "addresses": ["A secret", "lena@example.org", "Posted JSON</summary>"],
    }


def test_the_permission_unmasks(database: str, client: Client) -> None:
    put_in_outbox()
    sign_in_superuser(client)
    assert "ann@example.com" in page(client, "sending_app.mail", only_part().pk)
    assert "ann@example.com" in page(client, "sending_app.mail")
    assert "ann@example.com" in page(client, "sending_app.recipient")


def test_a_list_is_not_sorted_by_masked_addresses(database: str, client: Client) -> None:
    put_in_outbox(mail("bo@example.com"))
    put_in_outbox(mail("ann@example.com"))
    ascending, descending = (
        page(client, "sending_app.recipient", o=order).partition("result_list")[2] for order in ("2", "-2")
    )
    assert ascending.index("a…@") < ascending.index("…@example.com", ascending.index("a…@") + 9)
    assert descending.index("a…@") < descending.index("…@example.com", descending.index("a…@") + 9)


def test_only_a_whole_address_finds_rows(database: str, client: Client) -> None:
    put_in_outbox()
    for model in ("mail", "recipient"):
        found = page(client, f"sending_app.{model}", q="ann@example.com")
        assert f"1 {model}" in found
        assert "only a whole address finds rows" in found
        # A part of an address or of a subject would tell an address letter by letter.
        for part in ("ann", "ann*", "ann* *", "ann@example.c*", "Your order"):
            assert f"0 {model}s" in page(client, f"sending_app.{model}", q=part)
    sign_in_superuser(client)
    found = page(client, "sending_app.mail", q="ann")
    assert "1 mail" in found
    assert "only a whole address" not in found


@pytest.mark.parametrize(
    ("model", "lookup"),
    [
        ("mail", "error__contains"),
        ("mail", "log__contains"),
        ("mail", "personalizations__contains"),
        ("mail", "recipients__address__startswith"),
        ("mail", "recipients__pk__address"),
        ("mail", "pk__message__subject"),
        ("recipient", "address__startswith"),
        ("recipient", "address"),
        ("outboxmessage", "content__contains"),
        ("outboxmessage", "subject__startswith"),
        ("outboxmessage", "mails__recipients__address"),
        ("opencircuit", "reason__contains"),
    ],
)
def test_the_url_of_a_list_has_no_lookups_but_those_of_its_filters(
    database: str, client: Client, model: str, lookup: str
) -> None:
    sign_in_superuser(client)
    assert client.get(url_of(f"sending_app.{model}"), {lookup: "a"}).status_code == 400
