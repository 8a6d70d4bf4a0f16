"""Criteria mean the mails an operator means, on either database."""

import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from events_app.inbound.filters import (
    InboundCriteria,
    find_inbound_mails,
    missing_inbound_mails,
    search_inbound_mails,
)
from events_app.models import InboundMail
from tests.support.inbound.mails import RECEIVED, add_pending_mail, store_read_mail
from tests.support.plans import plan, scans

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


def ids(**criteria: Any) -> list[int]:
    return sorted(find_inbound_mails(InboundCriteria(**criteria)).values_list("pk", flat=True))


def test_an_empty_filter_finds_all_mails(database: str) -> None:
    assert ids() == []
    assert [store_read_mail(), store_read_mail()] == ids()


def test_filter_by_our_id_or_the_message_id_with_or_without_brackets(database: str) -> None:
    first, second, bare = (
        store_read_mail(message_id="<a@b.example>"),
        store_read_mail(message_id="<c@d.example>"),
        store_read_mail(message_id="x"),
    )
    assert ids(ids=(str(first), "c@d.example")) == [first, second]
    assert ids(ids=("<c@d.example>", "x", "0", str(10**17))) == [second, bare]
    assert ids(ids=("C@D.example",)) == []


def test_filter_by_message_id_finds_all_posts_of_a_mail(database: str) -> None:
    posts = [store_read_mail(message_id="<a@b.example>") for _ in range(3)]
    assert ids(ids=("a@b.example",)) == posts


def test_filter_by_an_empty_id_finds_nothing(database: str) -> None:
    store_read_mail(message_id="")
    assert ids(ids=("",)) == ids(ids=(" ",)) == []
    assert missing_inbound_mails(["", "\0"]) == ["", "\0"]


def test_filter_by_a_message_id_longer_than_its_column_finds_its_mail(database: str) -> None:
    whole = f"<{'a' * 300}@b.example>"
    pk = store_read_mail(message_id=whole[:255])
    assert ids(ids=(whole,)) == [pk]
    assert missing_inbound_mails([whole]) == []


def test_missing_returns_the_unknown_ids(database: str) -> None:
    first = store_read_mail(message_id="<a@b.example>")
    asked = [str(first), "a@b.example", "<a@b.example>", "b", f"0{first}", "0", str(10**17), "9" * 30]
    assert missing_inbound_mails(asked) == ["b", "0", str(10**17), "9" * 30]
    assert missing_inbound_mails([]) == []


def test_filter_by_the_address_of_sender_or_recipient(database: str) -> None:
    first = store_read_mail(sender="mira@example.net", recipient="desk@example.com")
    second = store_read_mail(sender="desk@example.com", recipient="lena@example.org")
    assert ids(address=" Desk@Example.COM ") == [first, second]
    assert ids(address="mira@example.net") == [first]
    assert ids(address="mira") == []


def test_filter_by_any_spelling_of_an_address(database: str) -> None:
    first = store_read_mail(sender='"a..b"@docomo.example')
    assert ids(address="A..B@docomo.example") == ids(address='"a..b"@docomo.example') == [first]


def test_filter_by_the_answered_message_id(database: str) -> None:
    first, _ = store_read_mail(answers="0c5c1a52"), store_read_mail()
    assert ids(answers="0c5c1a52") == [first]
    assert ids(answers="0c5c") == ids(answers="") == []


def test_filter_by_part_of_the_subject(database: str) -> None:
    first, _ = store_read_mail(subject="Where is my 100% order?"), store_read_mail(subject="Out of office")
    assert ids(subject="MY 100%") == [first]
    assert ids(subject="m_") == ids(subject="\\") == []


def test_filter_by_duplicates(database: str) -> None:
    again = store_read_mail(duplicate_of_id=store_read_mail())
    assert ids(duplicates=True) == [again]


def test_all_given_filters_must_match(database: str) -> None:
    first = store_read_mail(sender="mira@example.net", subject="Hello")
    second = store_read_mail(sender="mira@example.net", subject="Hello", answers="m1")
    add_pending_mail(first, state="dead", failures=1, receivers={"desk": "Traceback"})
    asked: dict[str, Any] = {
        "ids": (str(first), str(second)),
        "address": "mira@example.net",
        "subject": "hell",
    }
    assert ids(**asked) == [first, second]
    assert ids(**asked, answers="m1") == [second]
    assert ids(**asked, states=("dead",), receiver="desk") == [first]
    assert ids(**asked, since=RECEIVED, until=RECEIVED + timedelta(seconds=1)) == [first, second]
    assert ids(**asked, until=RECEIVED) == []


@pytest.mark.parametrize(
    "term",
    [
        *("7", "<a@b.example>", "a@b.example", "Mira@example.net", "desk@example.com", "0c5c1a52"),
        *("MIRA", "desk@ex", "d*", "100%"),
    ],
)
def test_a_search_finds_a_mail_by_id_address_subject_or_answered_message(database: str, term: str) -> None:
    fields = {"sender": "mira@example.net", "recipient": "desk@example.com", "answers": "0c5c1a52"}
    store_read_mail(pk=7, message_id="<a@b.example>", subject="My 100% order", **fields)
    store_read_mail(pk=8)
    rows = InboundMail.objects.filter(search_inbound_mails(term, by_part=True))
    assert [mail.pk for mail in rows] == [7]


@hypothesis_settings(
    max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.text(st.characters(codec=None), max_size=40))
def test_filters_accept_any_text(database: str, text: str) -> None:
    assert ids(ids=(text,)) == ids(address=text) == ids(address=f"{text}*") == ids(answers=text) == []
    assert ids(subject=text) == []
    assert not InboundMail.objects.filter(search_inbound_mails(text, by_part=True)).exists()
    assert missing_inbound_mails([text]) == [text]


# Indexes


@pytest.mark.parametrize(
    "criteria",
    [
        {"ids": ("17", "<a@b.example>", "c@d.example")},
        {"address": "mira@example.net"},
        {"answers": "0c5c1a52"},
        {"address": "mira*"},
    ],
)
def test_usual_filters_use_an_index(database: str, criteria: dict[str, Any]) -> None:
    rows = find_inbound_mails(InboundCriteria(**criteria))
    assert not scans(rows)
    assert re.search("index|primary key", plan(rows), re.IGNORECASE)


def test_a_filter_by_subject_uses_no_index(database: str) -> None:
    assert scans(find_inbound_mails(InboundCriteria(subject="hello")))
