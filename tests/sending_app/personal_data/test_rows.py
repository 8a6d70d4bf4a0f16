"""Rows of an erased person have the pseudonym: statuses and suppressions stay."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from events_app.shared.database import database_now
from events_app.shared.personal_data import registry
from events_app.shared.personal_data.person import Person
from sending_app import outbox
from sending_app.models import Recipient, Suppression
from sending_app.personal_data import rows
from sending_app.suppression.record import Word, record_words
from tests.support.sending.erasing import KEY, count, erase, suppressed, traces
from tests.support.sending.outbox_mails import mail, only_part, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

ANN = "ann@example.com"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def key(anymail: Callable[..., None]) -> None:
    anymail(PERSONAL_DATA_KEY=KEY)


def ann() -> str:
    return Person(ANN).pseudonym


def word(minutes: int, active: bool = True, address: str = ANN, reason: str = "bounced") -> None:
    said = Word(
        address=address,
        reason=Suppression.Reason(reason),
        active=active,
        at=BEGIN + timedelta(minutes=minutes),
        source=Suppression.Source.EVENT,
    )
    record_words([said], outbox.using())


def test_suppressions_hold_under_the_pseudonym(database: str) -> None:
    word(1)
    word(1, reason="spam")
    word(1, address="joann@example.com")
    assert count(ANN) == erase(ANN) == {"suppressions": {"suppressions": 2}}
    assert suppressed() == [
        (ann(), "bounced", True),
        (ann(), "spam", True),
        ("joann@example.com", "bounced", True),
    ]
    assert Suppression.objects.filter(since=BEGIN + timedelta(minutes=1)).count() == 3
    assert erase(ANN) == {}


@pytest.mark.parametrize("first_is_newer", [True, False])
def test_the_newest_word_decides_when_a_person_is_erased_again(database: str, first_is_newer: bool) -> None:
    word(2 if first_is_newer else 1, active=True)
    erase(ANN)
    word(1 if first_is_newer else 2, active=False)
    erase(ANN)
    assert suppressed() == [(ann(), "bounced", first_is_newer)]


def test_recipients_are_pseudonymised_in_slices(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "SLICE", 2)
    for _ in range(5):
        put_in_outbox(mail(ANN, "joann@example.com"))
    assert [numbers["recipients"] for numbers in rows.recipients(Person(ANN), erases=True)] == [2, 2, 1]
    assert Recipient.objects.filter(address=ann()).count() == 5
    assert traces("joann@example.com")


def test_of_two_rows_of_a_personalization_the_further_one_stays(database: str) -> None:
    put_in_outbox(mail())
    row = Recipient.objects.get()
    Recipient.objects.create(
        mail=only_part(), message_id=row.message_id, address=ann(), kind="to", status="delivered", rank=4
    )
    assert erase(ANN)["recipients"] == {"recipients": 1}
    assert Recipient.objects.get().status == "delivered"


def test_both_spellings_of_a_domain_are_the_same_person(database: str) -> None:
    put_in_outbox(mail("ann@xn--exmple-cua.com"))
    word(1, address="ann@xn--exmple-cua.com")
    erase("ann@exämple.com")
    assert suppressed() == [(Person("ann@xn--exmple-cua.com").pseudonym, "bounced", True)]
    assert traces("ann@exämple.com") == []


def test_mails_sent_after_an_erasure_are_newer(database: str) -> None:
    put_in_outbox(mail())
    old = str(Recipient.objects.get().message_id)
    erased_at = database_now(database)
    put_in_outbox(mail())
    new = str(Recipient.objects.latest("pk").message_id)
    pairs = [(old, erased_at), (new, erased_at), (new, erased_at + timedelta(days=1))]
    pairs += [("of another system", erased_at), (str(uuid.uuid4()), erased_at)]
    assert registry.newer_mails(pairs) == {(new, erased_at)}
    assert registry.newer_mails([]) == set()
