"""Criteria mean the mails an operator means, on either database."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sending_app.filters import MailCriteria, address_forms, find_mails, missing_mails, recipients
from sending_app.models import Mail, OutboxMessage, Recipient
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
