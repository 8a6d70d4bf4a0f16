"""Who gets which copy."""

from typing import Any
from uuid import UUID

import pytest

from sending_app.exceptions import UnsupportedFeature
from sending_app.mail import Personalization
from tests.support.sending.composed_messages import composed, rules

A, B, C, D = ({"email": f"{letter}@x.example"} for letter in "abcd")


def test_all_recipients_of_a_plain_mail_share_one_personalization() -> None:
    found = composed(to=["a@x.example", "B <b@x.example>"], cc=["c@x.example"], bcc=["d@x.example"])
    (envelope,) = found.mail.personalizations
    assert envelope == Personalization(id=envelope.id, to=[A, {**B, "name": "B"}], cc=[C], bcc=[D])
    assert str(UUID(envelope.id)) == envelope.id
    assert not found.mail.is_batch
    assert found.copies == {f"{letter}@x.example": [envelope.id] for letter in "abcd"}


def test_a_batch_has_a_personalization_for_each_recipient_with_all_cc_and_bcc() -> None:
    found = composed(
        to=["a@x.example", "b@x.example"],
        cc=["c@x.example"],
        bcc=["d@x.example"],
        merge_metadata={"a@x.example": {"n": 1}},
        merge_headers={"b@x.example": {"X-N": 2}},
    )
    first, second = found.mail.personalizations
    assert first == Personalization(id=first.id, to=[A], cc=[C], bcc=[D], metadata={"n": "1"})
    assert second == Personalization(id=second.id, to=[B], cc=[C], bcc=[D], headers={"X-N": "2"})
    assert first.id != second.id
    assert found.mail.is_batch
    assert found.copies == {
        "a@x.example": [first.id],
        "b@x.example": [second.id],
        "c@x.example": [first.id, second.id],
        "d@x.example": [first.id, second.id],
    }


@pytest.mark.parametrize("name", ["merge_data", "merge_metadata", "merge_headers"])
def test_b14_merge_attributes_make_a_batch(name: str) -> None:
    assert composed(**{name: {}}).mail.is_batch
    assert not composed(**{name: None}).mail.is_batch
    assert composed(rules(send_defaults={name: {}})).mail.is_batch
    assert not composed(rules(send_defaults={name: {}}), **{name: None}).mail.is_batch


def test_global_data_alone_makes_no_batch() -> None:
    mail = composed(to=["a@x.example", "b@x.example"], template_id="d-1", merge_global_data={"g": 1}).mail
    assert not mail.is_batch
    assert len(mail.personalizations) == 1


def test_b13_a_batch_of_any_size_is_composed() -> None:
    to = [f"r{number}@x.example" for number in range(1001)]
    found = composed(to=to, merge_data={})
    assert [envelope.to for envelope in found.mail.personalizations] == [
        [{"email": address}] for address in to
    ]
    assert list(found.copies) == to
    assert len({message_id for (message_id,) in found.copies.values()}) == 1001


@pytest.mark.parametrize("attributes", [{"cc": ["c@x.example"]}, {"bcc": ["c@x.example"]}, {}])
@pytest.mark.parametrize("batch", [{}, {"merge_data": {}}])
def test_b4_a_mail_without_to_recipients_is_refused(
    attributes: dict[str, Any], batch: dict[str, Any]
) -> None:
    with pytest.raises(UnsupportedFeature, match='a mail without "to"'):
        composed(rules(ignore_unsupported=True), to=[], **attributes, **batch)


def test_duplicate_addresses_appear_once_in_a_personalization() -> None:
    found = composed(
        to=["a@x.example", "A@X.example", "b@bücher.example"],
        cc=["b@xn--bcher-kva.example", "c@x.example", "c@x.example"],
        bcc=["C@x.example", "d@x.example", "a@x.example"],
    )
    (envelope,) = found.mail.personalizations
    assert (envelope.to, envelope.cc, envelope.bcc) == ([A, {"email": "b@xn--bcher-kva.example"}], [C], [D])
    assert {message_id for ids in found.copies.values() for message_id in ids} == {envelope.id}
    assert found.copies.keys() >= {"a@x.example", "A@X.example", "b@bücher.example", "C@x.example"}


def test_cc_leaves_out_the_to_recipient_of_a_personalization() -> None:
    found = composed(to=["a@x.example", "b@x.example"], cc=["A@x.example", "b@x.example"], merge_data={})
    first, second = found.mail.personalizations
    assert (first.to, first.cc) == ([A], [B])
    assert (second.to, second.cc) == ([B], [{"email": "A@x.example"}])
    assert found.copies["b@x.example"] == [first.id, second.id, second.id]
    assert found.copies["a@x.example"] == [first.id]


def test_an_address_twice_in_to_gets_two_copies_of_a_batch() -> None:
    found = composed(to=["a@x.example", "b@x.example", "A <a@x.example>"], merge_data={})
    first, second, third = found.mail.personalizations
    assert found.copies == {"a@x.example": [first.id, third.id], "b@x.example": [second.id]}


def test_b3_recipients_are_reported_by_the_given_address() -> None:
    found = composed(to=["Jörg <j@Bücher.example>"], cc=["c@x.example"])
    (envelope,) = found.mail.personalizations
    assert envelope.to == [{"email": "j@xn--bcher-kva.example", "name": "Jörg"}]
    assert found.copies == {"j@Bücher.example": [envelope.id], "c@x.example": [envelope.id]}


def test_untracked_personalizations_have_distinct_ids() -> None:
    found = composed(rules(generate_message_id=False), to=["a@x.example", "b@x.example"], merge_data={})
    first, second = found.mail.personalizations
    assert found.copies == {"a@x.example": [first.id], "b@x.example": [second.id]}
    assert not found.mail.shared.tracked
    assert first.id != second.id
