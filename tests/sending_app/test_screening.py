"""Recipients with a reason are left out of every personalization."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sending_app.mail import Personalization
from sending_app.screening import LeftOut, addresses_of, screen
from tests.support.sending.outbox_mails import personalization

ANN, BOB, CAT = "ann@example.com", "bob@example.com", "cat@example.com"


def told(left_out: list[LeftOut]) -> list[tuple[str, str]]:
    return [(left.email, left.reason) for left in left_out]


def test_without_reasons_nobody_is_left_out() -> None:
    both = [personalization(ANN), personalization(BOB)]
    screened = screen(both, {})
    assert (screened.kept, screened.left_out) == (both, [])


def test_recipients_are_left_out_of_to_cc_and_bcc() -> None:
    one = personalization(ANN, "Bob@Example.com", cc=[CAT], bcc=["dan@example.com"])
    screened = screen([one], {BOB: "spam", "dan@example.com": "bounced"})
    assert screened.kept == [replace(one, to=[{"email": ANN}], bcc=[])]
    assert told(screened.left_out) == [("Bob@Example.com", "spam"), ("dan@example.com", "bounced")]


def test_the_copies_of_a_personalization_without_to_are_left_out() -> None:
    first, second = personalization(ANN, cc=[CAT]), personalization(BOB, cc=[CAT])
    screened = screen([first, second], {ANN: "invalid"})
    assert screened.kept == [second]
    assert told(screened.left_out) == [(ANN, "invalid"), (CAT, "other")]
    assert {left.personalization.id for left in screened.left_out} == {first.id}


def test_the_personalization_that_the_caller_wrote_loses_its_recipients_too() -> None:
    given: dict[str, Any] = {
        "to": [{"email": ANN, "name": "Ann"}, {"email": "BOB@example.com"}],
        "cc": [{"email": CAT}],
        "subject": "Hello",
        "headers": {},
    }
    one = replace(personalization(ANN, "BOB@example.com", cc=[CAT]), given=given)
    (kept,) = screen([one], {BOB: "spam", CAT: "spam"}).kept
    assert kept.given == {"to": [{"email": ANN, "name": "Ann"}], "subject": "Hello", "headers": {}}
    assert (kept.to, kept.cc) == ([{"email": ANN}], [])
    assert given["cc"] == [{"email": CAT}]


addresses = st.lists(st.sampled_from([f"{letter}@example.com" for letter in "abcdef"]), unique=True)


def made(to: list[str], cc: list[str], bcc: list[str]) -> Personalization:
    return personalization(*(to or ["a@example.com"]), cc=cc, bcc=bcc)


@given(
    st.lists(st.builds(made, addresses, addresses, addresses), max_size=4),
    addresses.map(lambda left: dict.fromkeys(left, "bounced")),
)
def test_every_recipient_is_kept_or_left_out(each: list[Personalization], reasons: dict[str, str]) -> None:
    screened = screen(each, reasons)
    assert all(kept.to for kept in screened.kept)
    assert not addresses_of(screened.kept) & reasons.keys()
    before = [(one.id, recipient["email"]) for one in each for recipient in one.recipients]
    after = [(one.id, recipient["email"]) for one in screened.kept for recipient in one.recipients]
    after += [(left.personalization.id, left.email) for left in screened.left_out]
    assert sorted(after) == sorted(before)
