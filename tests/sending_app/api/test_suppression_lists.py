"""SendGrid's suppression lists by its API: pages, rate limits, outages, and keys without a scope."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from fake_sendgrid import responses
from fake_sendgrid.responses import ApiResponse
from fake_sendgrid.rules.fault import Fault
from fake_sendgrid.server import FakeSendGrid
from sending_app import account
from sending_app.api import suppression_lists
from sending_app.api.suppression_lists import (
    BOUNCES,
    GLOBAL_UNSUBSCRIBES,
    MEMBERS,
    PAGE,
    RATE_LIMITS,
    Entry,
    ListsFailed,
    RemoteList,
    SuppressionLists,
)
from tests.support.http_server import Request, Serve, response

NOW = datetime(2026, 7, 14, tzinfo=UTC)
CREATED = int(NOW.timestamp()) - 1000


class Operator:
    """Reads along, and has no time to wait."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.waits: list[float] = []

    def lists(self, alias: str = "default") -> SuppressionLists:
        return SuppressionLists(account.named(alias), self.told.append, self.waits.append)


@pytest.fixture
def operator() -> Operator:
    return Operator()


@pytest.fixture
def lists(operator: Operator, sendgrid: FakeSendGrid) -> SuppressionLists:
    return operator.lists()


def emails(lists: SuppressionLists, path: str = BOUNCES.pages) -> list[list[str]]:
    return [[entry.email for entry in page] for page in lists.pages(path, NOW)]


@pytest.mark.parametrize("name", ["bounces", "group:7"])
@pytest.mark.parametrize(
    "pages", [[0], [1], [PAGE - 1], [PAGE, 0], [PAGE, 1]], ids=lambda pages: f"{sum(pages)} entries"
)
def test_a_list_is_read_in_pages(
    lists: SuppressionLists, sendgrid: FakeSendGrid, name: str, pages: list[int]
) -> None:
    added = [f"ann{number}@example.com" for number in range(sum(pages))]
    for number, email in enumerate(added):
        sendgrid.suppressions.add(name, email, CREATED + number % 7)
    found = emails(lists, BOUNCES.pages if name == "bounces" else MEMBERS)
    assert list(map(len, found)) == pages
    assert sorted(email for page in found for email in page) == sorted(added)


def test_entries_have_their_time_and_group(lists: SuppressionLists, sendgrid: FakeSendGrid) -> None:
    sendgrid.suppressions.add("unsubscribes", "ann@example.com", CREATED)
    sendgrid.suppressions.add("group:7", "bob@example.com", CREATED)
    at = datetime.fromtimestamp(CREATED, UTC)
    assert list(lists.pages(GLOBAL_UNSUBSCRIBES.pages, NOW)) == [[Entry("ann@example.com", at, None)]]
    assert list(lists.pages(MEMBERS, NOW)) == [[Entry("bob@example.com", at, 7)]]
    assert lists.groups() == [7]


def test_entries_of_after_the_beginning_are_left_out(lists: SuppressionLists, sendgrid: FakeSendGrid) -> None:
    sendgrid.suppressions.add("bounces", "ann@example.com", NOW.timestamp() + 1)
    sendgrid.suppressions.add("bounces", "bob@example.com", NOW.timestamp())
    assert emails(lists) == [["bob@example.com"]]


@pytest.mark.parametrize("remote", [BOUNCES, GLOBAL_UNSUBSCRIBES, RemoteList.of_group(7)])
def test_one_address_is_found_and_removed(
    lists: SuppressionLists, sendgrid: FakeSendGrid, remote: RemoteList
) -> None:
    name = {BOUNCES: "bounces", GLOBAL_UNSUBSCRIBES: "unsubscribes"}.get(remote, "group:7")
    group = 7 if name == "group:7" else None
    sendgrid.suppressions.add("group:7", "eve@example.com")
    sendgrid.suppressions.add(name, "ann+x/y@example.com")
    assert lists.has(remote, "ann+x/y@example.com", group)
    lists.remove(remote, "ann+x/y@example.com")
    lists.remove(remote, "ann+x/y@example.com")  # somebody else was faster
    assert not lists.has(remote, "ann+x/y@example.com", group)


def test_addresses_are_added_but_for_those_that_sendgrid_refuses(
    lists: SuppressionLists, sendgrid: FakeSendGrid
) -> None:
    good = [f"ann{number}@example.com" for number in range(9)]
    assert lists.add(GLOBAL_UNSUBSCRIBES, [*good[:4], "nobody", *good[4:]]) == 9
    assert sorted(sendgrid.suppressions.emails("unsubscribes")) == good
    assert lists.add(GLOBAL_UNSUBSCRIBES, []) == 0


def test_a_rate_limit_is_waited_for_and_told(
    lists: SuppressionLists, sendgrid: FakeSendGrid, operator: Operator
) -> None:
    sendgrid.suppressions.add("bounces", "ann@example.com", CREATED)
    sendgrid.suppression_api.plan(1, responses.rate_limited(30))
    sendgrid.suppression_api.plan(2, responses.error(429))
    assert emails(lists) == [["ann@example.com"]]
    assert 28 <= operator.waits[0] <= 30
    assert operator.waits[1:] == [60]
    assert operator.told[1] == "SendGrid's rate limit: waiting 60 s."


def test_rate_limits_without_end_end(lists: SuppressionLists, sendgrid: FakeSendGrid) -> None:
    for number in range(RATE_LIMITS + 1):
        sendgrid.suppression_api.plan(number + 1, responses.rate_limited(30))
    with pytest.raises(ListsFailed, match="429: too many requests"):
        emails(lists)


@pytest.mark.parametrize(
    "planned",
    [responses.server_error(503), responses.close_connection(), responses.accept_and_close_connection()],
)
def test_a_call_without_an_answer_is_tried_again(
    lists: SuppressionLists, sendgrid: FakeSendGrid, planned: ApiResponse, operator: Operator
) -> None:
    sendgrid.suppression_api.plan(1, planned)
    sendgrid.suppression_api.plan(2, planned)
    assert lists.add(GLOBAL_UNSUBSCRIBES, ["ann@example.com"]) == 1
    assert sendgrid.suppressions.emails("unsubscribes") == ["ann@example.com"]
    assert operator.waits == [2, 4]


@pytest.mark.parametrize(
    ("planned", "words"),
    [
        (responses.server_error(503), "503: Service Unavailable. *Run the same command again"),
        (responses.html_page(504), "a page of HTML"),
        (responses.close_connection(), "SendGrid did not answer"),
    ],
)
def test_an_outage_ends_the_call(
    lists: SuppressionLists, sendgrid: FakeSendGrid, planned: ApiResponse, words: str
) -> None:
    for number in (1, 2, 3):
        sendgrid.suppression_api.plan(number, planned)
    with pytest.raises(ListsFailed, match=words):
        emails(lists)


@pytest.mark.parametrize(
    ("scope", "call"),
    [
        ("suppression.bounces.read", lambda lists: list(lists.pages(BOUNCES.pages, NOW))),
        ("suppression.bounces.delete", lambda lists: lists.remove(BOUNCES, "ann@example.com")),
        ("asm.groups.read", lambda lists: lists.groups()),
        ("asm.groups.suppressions.read", lambda lists: list(lists.pages(MEMBERS, NOW))),
        (
            "asm.groups.suppressions.create",
            lambda lists: lists.add(RemoteList.of_group(7), ["a@example.com"]),
        ),
        ("asm.suppressions.global.create", lambda lists: lists.add(GLOBAL_UNSUBSCRIBES, ["a@example.com"])),
        ("asm.suppressions.global.delete", lambda lists: lists.remove(GLOBAL_UNSUBSCRIBES, "a@example.com")),
    ],
)
def test_a_key_without_the_scope_is_told_which(
    lists: SuppressionLists, sendgrid: FakeSendGrid, scope: str, call: Callable[[SuppressionLists], Any]
) -> None:
    sendgrid.account.scopes = [name for name in sendgrid.account.scopes if name != scope]
    with pytest.raises(ListsFailed, match=f"403: access forbidden\n.*'default' lacks a scope: {scope}."):
        call(lists)


def test_a_wrong_key_and_a_wrong_url_are_named(
    operator: Operator, sendgrid: FakeSendGrid, anymail: Callable[..., None]
) -> None:
    sendgrid.keys = frozenset({"SG.other"})
    with pytest.raises(ListsFailed, match="does not know the API key of the account 'default'"):
        emails(operator.lists())
    sendgrid.keys = None
    anymail(SENDGRID_API_URL=f"{sendgrid.url}v3/")
    with pytest.raises(ListsFailed, match="Is SENDGRID_API_URL right"):
        emails(operator.lists())


def test_no_error_has_the_key(lists: SuppressionLists, sendgrid: FakeSendGrid) -> None:
    sendgrid.suppression_api.plan(1, responses.error(400, Fault("no such key: SG.fake", None)))
    with pytest.raises(ListsFailed) as caught:
        emails(lists)
    assert "no such key: ***" in str(caught.value)


def test_an_unusable_key_is_not_sent(
    operator: Operator, sendgrid: FakeSendGrid, anymail: Callable[..., None]
) -> None:
    anymail(SENDGRID_API_KEY="SG.a\nb")
    with pytest.raises(ListsFailed, match="a line break"):
        emails(operator.lists())


def test_a_test_run_asks_no_sendgrid(lists: SuppressionLists, anymail: Callable[..., None]) -> None:
    anymail(EAGER_IN_TESTS=True)
    with pytest.raises(ListsFailed, match="This is a test run"):
        emails(lists)


def answering(body: bytes) -> Any:
    def behave(peer: Any, requests: list[Request]) -> None:
        while found := peer.head():
            requests.append(found)
            peer.say(response(200, body))

    return behave


@pytest.mark.parametrize(
    "body",
    [
        b"[null, 5, {}, {}, {}]",
        b'[{"email": "ann@example.com"}, {"email": "ann@example.com", "created": "2026-01-01"}]',
        b'[{"email": null, "created": 5}, {"email": " ", "created": 5}, {"email": ["a"], "created": 5}]',
        b'[{"email": "ann@example.com", "created": 99999999999999999}]',
        b'[{"email": "ann@example.com", "created": true}]',
    ],
)
def test_entries_that_are_not_as_documented_are_left_out(
    serve: Serve, operator: Operator, anymail: Callable[..., None], body: bytes
) -> None:
    anymail(SENDGRID_API_KEY="SG.fake", SENDGRID_API_URL=serve(answering(body)).url)
    assert emails(operator.lists()) == [[]]


@pytest.mark.parametrize(
    ("body", "words"), [(b"<html>", "is not JSON"), (b'{"result": []}', "is no list"), (b"", "is not JSON")]
)
def test_another_answer_is_a_wrong_url(
    serve: Serve, operator: Operator, anymail: Callable[..., None], body: bytes, words: str
) -> None:
    anymail(SENDGRID_API_KEY="SG.fake", SENDGRID_API_URL=serve(answering(body)).url)
    with pytest.raises(ListsFailed, match=words):
        emails(operator.lists())


def test_an_answer_that_has_every_entry_is_read_once(
    serve: Serve, operator: Operator, anymail: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SendGrid documents no `limit` for the members of groups."""
    monkeypatch.setattr(suppression_lists, "PAGE", 2)
    members = [{"email": f"{name}@example.com", "created_at": 5, "group_id": 7} for name in ("ann", "bob")]
    body = json.dumps(members).encode()
    anymail(SENDGRID_API_KEY="SG.fake", SENDGRID_API_URL=serve(answering(body)).url)
    assert emails(operator.lists(), MEMBERS) == [["ann@example.com", "bob@example.com"]]


def test_a_member_of_no_readable_group_is_left_out(
    serve: Serve, operator: Operator, anymail: Callable[..., None]
) -> None:
    """Without a group the entry would stand for all mail."""
    body = b'[{"email": "ann@example.com", "created_at": 5, "group_id": null}]'
    anymail(SENDGRID_API_KEY="SG.fake", SENDGRID_API_URL=serve(answering(body)).url)
    assert emails(operator.lists(), MEMBERS) == [[]]
