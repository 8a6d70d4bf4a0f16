"""Which recipients are suppressed for a mail."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from events_app.shared.personal_data.pseudonyms import pseudonym
from sending_app.mail import SharedContent
from sending_app.suppression.lookup import find_suppressed
from tests.support.sending.outbox_mails import BODY
from tests.support.sending.suppressions import suppress

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

ANN, BOB = "ann@example.com", "bob@example.com"

NOW = datetime.now(UTC)


def content(scope: str = "", **body: Any) -> SharedContent:
    return SharedContent(body={**BODY, **body}, unsubscribe_scope=scope)


def bypass(*names: str, enable: object = True) -> dict[str, Any]:
    return {"mail_settings": {f"bypass_{name}_management": {"enable": enable} for name in names}}


@pytest.mark.parametrize(
    ("scope", "shared", "holds"),
    [
        ("", content(), True),
        ("", content("news"), True),
        ("news", content("news"), True),
        ("news", content(), False),
        ("news", content("offers"), False),
        ("group:17", content(asm={"group_id": 17}), True),
        ("group:17", content("news", asm={"group_id": 17}), True),
        ("group:17", content(asm={"group_id": 18}), False),
        ("group:17", content(asm={"group_id": "many"}), False),
        ("group:17", content(asm=17), False),
        ("group:17", content(), False),
    ],
)
def test_a_suppression_holds_in_its_scope(
    database: str, scope: str, shared: SharedContent, holds: bool
) -> None:
    suppress(ANN, "unsubscribed", scope)
    assert find_suppressed(shared, [ANN, BOB], database) == ({ANN: "unsubscribed"} if holds else {})


@pytest.mark.parametrize(
    ("fields", "holds"),
    [
        ({"active": False}, False),
        ({"until": NOW - timedelta(hours=1)}, False),
        ({"until": NOW + timedelta(hours=1)}, True),
    ],
)
def test_an_ended_suppression_holds_no_more(database: str, fields: dict[str, Any], holds: bool) -> None:
    suppress(ANN, **fields)
    assert bool(find_suppressed(content(), [ANN], database)) == holds


def test_the_strongest_reason_counts(database: str) -> None:
    for reason in ("blocked", "unsubscribed", "spam", "invalid", "bounced"):
        suppress(ANN, reason, "news")
        assert find_suppressed(content("news"), [ANN], database) == {ANN: reason}


@pytest.mark.parametrize(
    ("shared", "reason", "scope", "holds"),
    [
        (content(**bypass("list")), "bounced", "", False),
        (content("news", **bypass("list")), "unsubscribed", "news", False),
        (content(**bypass("bounce")), "bounced", "", False),
        (content(**bypass("bounce")), "invalid", "", True),
        (content(**bypass("bounce")), "spam", "", True),
        (content(**bypass("spam")), "spam", "", False),
        (content(**bypass("unsubscribe")), "unsubscribed", "", False),
        (content("news", **bypass("unsubscribe")), "unsubscribed", "news", True),
        (content(**bypass("bounce", "spam")), "spam", "", False),
        (content(**bypass("list", enable=False)), "bounced", "", True),
        (content(**bypass("list", enable="yes")), "bounced", "", True),
        (content(mail_settings=["bypass_list_management"]), "bounced", "", True),
        (content(mail_settings={"bypass_list_management": True}), "bounced", "", True),
    ],
)
def test_sendgrids_bypasses_hold_here_too(
    database: str, shared: SharedContent, reason: str, scope: str, holds: bool
) -> None:
    suppress(ANN, reason, scope)
    assert bool(find_suppressed(shared, [ANN], database)) == holds


def test_one_query_looks_up_any_number_of_recipients(database: str) -> None:
    suppress("number-700@example.com")
    addresses = [f"number-{number}@example.com" for number in range(3000)]
    with CaptureQueriesContext(connections[database]) as queries:
        assert find_suppressed(content("news"), addresses, database) == {"number-700@example.com": "bounced"}
    assert len(queries) == 1


@pytest.mark.parametrize(("shared", "addresses"), [(content(), []), (content(**bypass("list")), [ANN])])
def test_without_a_question_nothing_is_asked(
    database: str, shared: SharedContent, addresses: list[str]
) -> None:
    with CaptureQueriesContext(connections[database]) as queries:
        assert find_suppressed(shared, addresses, database) == {}
    assert not queries.captured_queries


def test_the_suppression_of_an_erased_person_holds(database: str, anymail: Callable[..., None]) -> None:
    anymail(PERSONAL_DATA_KEY="k" * 32)
    suppress(pseudonym(ANN), "unsubscribed")
    assert find_suppressed(content(), [ANN, BOB], database) == {ANN: "unsubscribed"}


@pytest.mark.parametrize(
    "address", ["o'neil@example.com", '"a\\"b"@example.com', "grüß@example.com", "\ud800@x"]
)
def test_any_address_can_be_looked_up(database: str, address: str) -> None:
    assert find_suppressed(content(), [address], database) == {}
