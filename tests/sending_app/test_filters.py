"""Criteria mean the mails an operator means, on either database."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from events_app.shared import search
from events_app.shared.database import database_now
from sending_app import filters
from sending_app.filters import (
    MailCriteria,
    address_forms,
    find_mails,
    in_events,
    missing_mails,
    recipients,
    search_mails,
    search_recipients,
)
from sending_app.models import Mail, MessageLabel, OutboxMessage, Recipient
from tests.support.plans import plan, scans
from tests.support.sending.outbox_mails import all_parts, mail, only_part, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


def found(**criteria: Any) -> list[int]:
    return sorted(find_mails(MailCriteria(**criteria)).values_list("pk", flat=True))


def id_of(address: str) -> str:
    return str(Recipient.objects.get(address=address).message_id)


def test_an_empty_filter_finds_all_mails(database: str) -> None:
    put_in_outbox()
    put_in_outbox()
    assert found() == [one.pk for one in all_parts()]


def test_filter_by_each_kind_of_id(database: str) -> None:
    for name in "abcd":
        put_in_outbox(mail(f"{name}@example.net"))
    first, second, third, fourth = all_parts()
    Mail.objects.filter(pk=third.pk).update(x_message_id="14c5d75ce93")
    Mail.objects.filter(pk=fourth.pk).update(x_message_id="older.with.dots")
    ours = id_of("b@example.net")
    assert found(ids=(str(first.pk),)) == [first.pk]
    assert found(ids=(ours.upper(),)) == [second.pk]
    assert found(ids=("14c5d75ce93.filter0001p1las1-5C9DF9E7-1.0",)) == [third.pk]
    assert found(ids=("older.with.dots",)) == [fourth.pk]
    assert found(ids=(str(first.pk), ours, "14c5d75ce93", "nobody's")) == [first.pk, second.pk, third.pk]
    assert found(ids=("", ".", "0", str(10**17), "\0")) == []


def test_missing_returns_the_unknown_ids(database: str) -> None:
    put_in_outbox(mail("a@example.net"))
    there = [str(only_part().pk), id_of("a@example.net")]
    assert missing_mails([*there, "c3", "0", "00000000-0000-4000-8000-000000000000"]) == [
        "c3",
        "0",
        "00000000-0000-4000-8000-000000000000",
    ]
    assert missing_mails([]) == []


def test_filter_by_message_finds_all_its_batches(database: str) -> None:
    message = put_in_outbox(mail(*(f"p{number}@example.net" for number in range(1001)), batch=True))
    put_in_outbox()
    assert found(message=message.pk) == [one.pk for one in all_parts()[:2]]
    assert found(message_id=id_of("p1000@example.net")) == [all_parts()[1].pk]
    assert found(message_id="no id of ours") == []


def test_filter_by_address_ignores_case(database: str) -> None:
    put_in_outbox(mail("Ann@Example.COM", cc=["bo@example.com"]))
    put_in_outbox(mail("else@example.com"))
    assert found(address=" aNN@example.com ") == found(address="BO@example.com") == [all_parts()[0].pk]
    assert found(address="ann") == found(address="") == []


def test_filter_by_any_spelling_of_an_address(database: str) -> None:
    put_in_outbox(mail('"a..b"@docomo.example', "groß@example.com"))
    (pk,) = [one.pk for one in all_parts()]
    assert found(address="A..b@docomo.example") == found(address='"a..b"@docomo.example') == [pk]
    assert found(address="a.b@docomo.example") == found(address="gross@example.com") == []


@pytest.mark.parametrize(
    ("given", "out"),
    [
        ("Jörg@Bücher.example", "jörg@xn--bcher-kva.example"),
        ("ann@faß.example", "ann@xn--fa-hia.example"),
        ("ann@faß.example", "ann@fass.example"),
        ("ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
    ],
)
def test_forms_include_the_ascii_form_of_an_address(given: str, out: str) -> None:
    assert out in address_forms(given)


def test_forms_include_the_address_by_the_projects_encoder(anymail: Callable[..., None]) -> None:
    anymail(IDNA_ENCODER=lambda domain: "of-our-own.example")
    assert "ann@of-our-own.example" in address_forms("ann@bücher.example")


def test_an_unencodable_domain_is_looked_up_unchanged() -> None:
    assert address_forms("ann@\u2028.example") == {"ann@\u2028.example"}
    assert address_forms("\0") == {""}


def test_filter_by_address_and_message_id_must_match_one_recipient(database: str) -> None:
    put_in_outbox(mail("a@example.net", "b@example.net", batch=True))
    asked = MailCriteria(address="a@example.net", message_id=id_of("b@example.net"))
    assert (list(find_mails(asked)), list(recipients(asked))) == ([], [])
    (row,) = recipients(MailCriteria(address="a@example.net", message_id=id_of("a@example.net")))
    assert row.address == "a@example.net"


def test_filter_by_subject_lane_mailer_and_state(database: str) -> None:
    put_in_outbox(mail(subject="The garden in May"))
    put_in_outbox(mail(bulk=True), alias="news")
    first, second = (one.pk for one in all_parts())
    Mail.objects.filter(pk=second).update(state="parked", sent_twice=True)
    assert found(subject="GARDEN") == [first]
    assert found(lane="bulk") == found(mailer="news") == found(sent_twice=True) == [second]
    assert found(states=("parked",)) == [second]
    assert found(states=("parked", "waiting")) == [first, second]
    assert found(states=("waiting",), mailer="news") == []


def test_filter_by_time_uses_the_time_of_send(database: str) -> None:
    at = datetime(2026, 7, 14, 12, tzinfo=UTC)
    message = put_in_outbox()
    OutboxMessage.objects.filter(pk=message.pk).update(created_at=at)
    pk = only_part().pk
    assert found(since=at) == found(until=at + timedelta(seconds=1)) == [pk]
    assert found(since=at + timedelta(seconds=1)) == found(until=at) == []


def test_filter_by_the_beginning_of_any_recipients_address(database: str) -> None:
    put_in_outbox(mail("Ann@example.com", "zoe@example.com", batch=True))
    put_in_outbox(mail("anna@example.com", cc=["bo@example.org"]))
    first, second = (one.pk for one in all_parts())
    assert found(address="ANN*") == [first, second]
    assert found(address="zoe@*") == [first]
    assert found(address="bo@example.org*") == [second]
    assert found(address="a_n*") == found(address="*") == []


def test_the_beginning_of_an_address_shows_the_events_of_the_addresses_found(database: str) -> None:
    put_in_outbox(mail("ann@example.com", "anna@example.com", "zoe@example.com"))
    criteria = MailCriteria(address="ann*")
    assert in_events(criteria, recipients(criteria)) == {"ann@example.com", "anna@example.com"}


@pytest.mark.parametrize("outcome", ["bounced", "rejected", "deferred", "failed", "delivered"])
def test_filter_by_the_outcome_for_any_recipient(database: str, outcome: str) -> None:
    put_in_outbox(mail("ann@example.com", "bo@example.com"))
    put_in_outbox()
    first, _ = all_parts()
    Recipient.objects.filter(address="bo@example.com").update(status=outcome)
    assert found(outcomes=(outcome,)) == found(outcomes=(outcome, "complained")) == [first.pk]
    assert found(outcomes=("complained",)) == []
    assert found(outcomes=(outcome,), address="ann@example.com") == []


@pytest.mark.parametrize("outcome", ["opened", "clicked", "complained"])
def test_filter_by_an_engagement(database: str, outcome: str) -> None:
    put_in_outbox(mail("ann@example.com"))
    put_in_outbox(mail("bo@example.com"))
    Recipient.objects.filter(address="bo@example.com").update(**{f"{outcome}_at": database_now(database)})
    assert found(outcomes=(outcome,)) == [all_parts()[1].pk]


def test_outcomes_without_an_index_are_looked_for_among_the_newest_mails(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "NEWEST", 1)
    for _ in range(2):
        put_in_outbox()
    Recipient.objects.update(status="delivered", complained_at=database_now(database))
    assert found(outcomes=("delivered",)) == [all_parts()[1].pk]
    assert found(outcomes=("complained",)) == [one.pk for one in all_parts()]


def test_filter_by_a_tag_and_metadata(database: str) -> None:
    put_in_outbox(mail(categories=["welcome"], custom_args={"order": "7", "": "welcome 2"}))
    put_in_outbox(mail(categories=["Welcome", "7"], custom_args={"order": "77"}))
    put_in_outbox()
    first, second, _ = (one.pk for one in all_parts())
    assert found(tag="welcome") == found(metadata=("order", "7")) == [first]
    assert found(tag="7") == found(metadata=("order", "77"), tag="Welcome") == [second]
    assert found(metadata=("", "7")) == [second]  # the name of a tag
    assert found(tag="welcome 2") == found(metadata=("7", "order")) == []


@pytest.mark.parametrize(
    ("criteria", "index"),
    [
        ({"address": "ann*"}, "recipient_address"),
        ({"address": "ann@example.com"}, "recipient_address"),
        ({"outcomes": ("bounced",)}, "recipient_trouble"),
        ({"outcomes": ("complained",)}, "recipient_complained"),
    ],
)
def test_an_index_serves_a_filter_of_recipients(database: str, criteria: dict[str, Any], index: str) -> None:
    rows = recipients(MailCriteria(**criteria))
    assert index in plan(rows)
    assert not scans(rows)


@pytest.mark.parametrize(
    ("criteria", "index"),
    [
        ({"tag": "welcome"}, "message_label"),
        ({"metadata": ("order", "7")}, "message_label"),
        ({"states": ("cancelled",)}, "mail_cancelled"),
        ({"states": ("failed",)}, "mail_failed"),
    ],
)
def test_an_index_serves_a_filter_of_mails(database: str, criteria: dict[str, Any], index: str) -> None:
    # In an almost empty table every index is as good.
    message = put_in_outbox()
    MessageLabel.objects.using(database).bulk_create(
        MessageLabel(message=message, name="order", value=str(number)) for number in range(500)
    )
    with connections[database].cursor() as cursor:
        cursor.execute("ANALYZE")
    rows = find_mails(MailCriteria(**criteria))
    assert index in plan(rows)
    assert not scans(rows)


def searched(term: str) -> list[int]:
    return sorted(Mail.objects.filter(search_mails(term, by_part=True)).values_list("pk", flat=True))


@pytest.mark.parametrize(
    "term",
    [
        *("Ann@example.com", "ANN", "ann@ex", "bo*", "zoe@example.org", "May", "the GARDEN", "100%"),
        *("welcome", "order=7", "order=7=8", "14c5d75ce93"),
    ],
)
def test_a_search_finds_a_mail_by_address_subject_tag_metadata_or_id(database: str, term: str) -> None:
    put_in_outbox(
        mail(
            "Ann@example.com",
            "bo@example.com",
            cc=["zoe@example.org"],
            batch=True,
            subject="The garden in May, 100%",
            categories=["welcome"],
            custom_args={"order": "7", "": "x"} if term != "order=7=8" else {"order": "7=8"},
        )
    )
    put_in_outbox(mail("else@example.net"))
    first, _ = all_parts()
    Mail.objects.filter(pk=first.pk).update(x_message_id="14c5d75ce93")
    for text in (term, f" {term} ", str(first.pk), id_of("ann@example.com")):
        assert searched(text) == [first.pk]


@pytest.mark.parametrize(
    "term", ["ann@example.co", "example", "welcom", "order=", "=", "*", "_nn", "m_y", "\0"]
)
def test_a_search_finds_no_other_mails(database: str, term: str) -> None:
    put_in_outbox(mail("ann@example.com", subject="May", categories=["welcome"], custom_args={"order": "7"}))
    assert searched(term) == []


def test_a_search_may_be_by_whole_addresses_only(database: str) -> None:
    put_in_outbox(mail("ann@example.com", subject="To ann@example.com"))
    for term, finds in {"ann@example.com": True, "ann": False, "ann*": False, "nn@": False}.items():
        assert Mail.objects.filter(search_mails(term, by_part=False)).exists() == finds
        assert Recipient.objects.filter(search_recipients(term, by_part=False)).exists() == finds
    assert Recipient.objects.filter(search_recipients("ANN", by_part=True)).exists()


def test_a_search_looks_at_the_subjects_of_the_newest_messages(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "NEWEST", 1)
    for _ in range(2):
        put_in_outbox(mail(subject="The garden in May"))
    assert searched("garden") == [all_parts()[1].pk]


def test_a_search_needs_a_constant_number_of_queries(database: str) -> None:
    counts = []
    for number in (1, 9):
        for _ in range(number):
            put_in_outbox(mail(subject="Order", categories=["a=b"], custom_args={"a": "b"}))
        with CaptureQueriesContext(connections[database]) as queries:
            assert searched("a=b")
        counts.append(len(queries))
    assert counts == [8, 8]
