"""The events of a mail are those of SendGrid."""

import random
from collections import Counter
from typing import Any

import pytest

from events_app.normalize import normalize
from events_app.signals import EventType, RejectReason
from fake_sendgrid.events import Event
from fake_sendgrid.request_validation import faults
from fake_sendgrid.scenarios import SCENARIOS, events, sends_reply
from tests.support.fake_sendgrid.api_requests import mail_body, mail_body_with

AT = 1_780_000_000
BASE = "mQy1cO5bTPKd3p4gWb0aXw"


def told(body: dict[str, Any], seed: int = 1) -> list[Event]:
    assert not faults(body, AT)
    return events(body, BASE, AT, random.Random(seed))


@pytest.mark.parametrize(
    ("local", "names"),
    [
        ("ada", ["processed", "delivered"]),
        ("bounce", ["processed", "bounce"]),
        ("Bounced.7", ["processed", "bounce"]),
        ("blocked", ["processed", "bounce"]),
        ("dropped", ["dropped"]),
        ("deferred", ["processed", "deferred", "delivered"]),
        ("open", ["processed", "delivered", "open"]),
        ("click+1", ["processed", "delivered", "open", "click"]),
        ("spam", ["processed", "delivered", "spamreport"]),
        ("unsubscribe", ["processed", "delivered", "unsubscribe"]),
        ("reply.ann", ["processed", "delivered", "open"]),
        ("silent", []),
        ('"bounce..a"', ["processed", "bounce"]),
    ],
)
def test_the_local_part_chooses_the_scenario(local: str, names: list[str]) -> None:
    assert [event["event"] for event in told(mail_body(f"{local}@example.com"))] == names


@pytest.mark.parametrize("email", ["a..b@x.org", ".a@x.org", "bounce.@x.org", "groß@x.org", "a@[127.0.0.1]"])
def test_a_mail_to_an_address_that_gets_no_mail_is_dropped(email: str) -> None:
    (event,) = told(mail_body(email))
    assert (event["event"], normalize(event).reject_reason) == ("dropped", RejectReason.INVALID)


def test_a_block_is_a_bounce_with_another_type() -> None:
    bounce, block = (told(mail_body(f"{word}@example.com"))[-1] for word in ("bounce", "blocked"))
    assert normalize(bounce).reject_reason == RejectReason.BOUNCED
    assert normalize(block).reject_reason == RejectReason.BLOCKED
    assert (bounce["type"], block["type"]) == ("bounce", "blocked")
    assert bounce["status"]
    assert bounce["bounce_classification"]


def test_every_scenario_makes_known_event_types() -> None:
    found = told(mail_body(*(f"{word}@example.com" for word in SCENARIOS)))
    assert EventType.UNKNOWN not in {normalize(event).event_type for event in found}


def test_an_event_has_the_ids_of_the_mail_and_the_recipient_number() -> None:
    one = {"to": [{"email": "a@example.com"}], "cc": [{"email": "b@example.com"}]}
    found = told(mail_body(personalizations=[one, {"to": [{"email": "c@example.com"}]}]))
    places = {event["email"]: event["sg_message_id"].rpartition(".")[2] for event in found}
    assert places == {"a@example.com": "0", "b@example.com": "1", "c@example.com": "2"}
    assert all(event["sg_message_id"].startswith(f"{BASE}.recvd-") for event in found)
    assert {event["smtp-id"] for event in found} == {f"<{BASE}@geopod-ismtpd-3>"}
    assert {event["timestamp"] for event in found} == {AT}


def test_an_event_has_the_message_id_header_of_its_recipient() -> None:
    whole = {"to": [{"email": "a@example.com"}]}
    own = {"to": [{"email": "b@example.com"}], "headers": {"message-ID": "<own@example.org>"}}
    body = mail_body(personalizations=[whole, own], headers={"Message-ID": "<all@example.org>"})
    found = {(event["email"], event["smtp-id"]) for event in told(body)}
    assert found == {("a@example.com", "<all@example.org>"), ("b@example.com", "<own@example.org>")}


def test_addresses_that_begin_with_reply_send_replies() -> None:
    assert [sends_reply(f"{word}@example.com") for word in ("reply", "Reply.ann", "ann.reply", "open")] == [
        True,
        True,
        False,
        False,
    ]


def test_no_two_events_of_a_mail_share_an_id() -> None:
    found = told(mail_body(*(f"{word}-{n}@example.com" for word in SCENARIOS for n in range(3))))
    ids = Counter(event["sg_event_id"] for event in found)
    assert len(ids) == len(found)


def test_event_ids_of_delivery_are_deterministic_and_others_random() -> None:
    first, second = (
        {event["event"]: event["sg_event_id"] for event in told(mail_body("click@example.com"), seed)}
        for seed in (1, 2)
    )
    same = {name for name in first if first[name] == second[name]}
    assert same == {"processed", "delivered"}


def test_custom_args_are_top_level_keys_and_those_of_the_recipient_win() -> None:
    body = {
        **mail_body_with(custom_args={"order": "7", "own": "yes"}),
        "custom_args": {"order": "1", "root": "yes"},
    }
    for event in told(body):
        assert normalize(event).metadata == {"order": "7", "own": "yes", "root": "yes"}


def test_reserved_sendgrid_keys_override_custom_args() -> None:
    body = {
        **mail_body_with(
            to=[{"email": "bounce@example.com"}], custom_args={"type": "welcome", "email": "me", "x": "y"}
        )
    }
    processed, bounce = told(body)
    assert (processed["type"], bounce["type"]) == ("welcome", "bounce")
    assert {processed["email"], bounce["email"]} == {"bounce@example.com"}


def test_events_contain_categories_group_pool_and_send_at_of_the_mail() -> None:
    body = mail_body(
        "deferred@example.com", categories=["a"], asm={"group_id": 7}, ip_pool_name="bulk", send_at=5
    )
    processed, deferred, delivered = told(body)
    assert {event["asm_group_id"] for event in (processed, deferred, delivered)} == {7}
    assert [event["category"] for event in (processed, deferred, delivered)] == [["a"]] * 3
    assert processed["pool"]["name"] == "bulk"
    assert processed["send_at"] == 5
    assert "pool" not in delivered
    assert (deferred["from"], deferred["domain"]) == ("shop@example.org", "example.com")
    assert delivered["response"].startswith("250")


def test_keys_of_unset_mail_attributes_are_absent() -> None:
    processed, delivered = told(mail_body())
    assert not {"category", "asm_group_id", "pool"} & (processed.keys() | delivered.keys())
    assert processed["send_at"] == 0


def test_a_click_has_a_url_of_the_mail() -> None:
    content = [
        {"type": "text/plain", "value": "https://example.com/text"},
        {"type": "text/html", "value": '<a href="https://example.com/html?a=b">here</a>'},
    ]
    assert told(mail_body("click@example.com", content=content))[-1]["url"] == "https://example.com/html?a=b"
    assert told(mail_body("click@example.com", content=content[:1]))[-1]["url"] == "https://example.com/text"
    assert told(mail_body("click@example.com"))[-1]["url"].startswith("https://")
