"""The API of suppression lists: pages, times, single addresses, groups, and keys without the scope."""

import json
from typing import Any

import pytest
import requests

from fake_sendgrid import responses
from fake_sendgrid.client import Client, ControlFailed
from fake_sendgrid.server import FakeSendGrid
from tests.support.fake_sendgrid.api_requests import HEADERS, mail_body, post_mail
from tests.support.fake_sendgrid.webhook_receiver import PATIENCE


def call(fake: FakeSendGrid, method: str, path: str, body: object = None) -> requests.Response:
    data = None if body is None else json.dumps(body)
    return requests.request(method, fake.url + path, data=data, headers=HEADERS, timeout=PATIENCE)


def read(fake: FakeSendGrid, path: str) -> Any:
    answer = call(fake, "GET", path)
    assert answer.status_code == 200
    return answer.json()


def emails(fake: FakeSendGrid, path: str) -> list[str]:
    return [entry["email"] for entry in read(fake, path)]


def error(answer: requests.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json()["errors"][0]["field"]


@pytest.mark.parametrize("name", ["bounces", "blocks", "invalid_emails", "spam_reports", "unsubscribes"])
def test_a_list_has_pages_and_a_range_of_times(fake: FakeSendGrid, name: str) -> None:
    for number in range(5):
        fake.suppressions.add(name, f"ann{number}@example.com", 1000 + number)
    path = f"suppression/{name}"
    assert emails(fake, path) == [f"ann{number}@example.com" for number in (4, 3, 2, 1, 0)]
    assert emails(fake, f"{path}?limit=2&offset=3") == ["ann1@example.com", "ann0@example.com"]
    assert emails(fake, f"{path}?start_time=1001&end_time=1002") == ["ann2@example.com", "ann1@example.com"]
    assert emails(fake, f"{path}?offset=5") == []


def test_an_entry_has_the_fields_of_its_list(fake: FakeSendGrid) -> None:
    fake.suppressions.add("bounces", "ann@example.com", 1000, reason="550 no such user", status="5.1.1")
    fake.suppressions.add("spam_reports", "ann@example.com", 1000)
    assert read(fake, "suppression/bounces") == [
        {"created": 1000, "email": "ann@example.com", "reason": "550 no such user", "status": "5.1.1"}
    ]
    assert read(fake, "suppression/spam_reports") == [{"created": 1000, "email": "ann@example.com", "ip": ""}]


def test_a_list_is_searched_by_the_beginning_of_the_address(fake: FakeSendGrid) -> None:
    for email in ("ann@example.com", "joann@example.com", "bob@example.com"):
        fake.suppressions.add("blocks", email, 1000)
    assert emails(fake, "suppression/blocks?email=Ann") == ["ann@example.com"]
    assert emails(fake, "suppression/blocks?email=%25ann") == ["ann@example.com", "joann@example.com"]


@pytest.mark.parametrize(
    "query", ["limit=501", "limit=0", "limit=many", "offset=-1", "start_time=2026-01-01"]
)
def test_a_query_that_is_no_number_in_range_is_refused(fake: FakeSendGrid, query: str) -> None:
    assert error(call(fake, "GET", f"suppression/bounces?{query}")) == (400, query.partition("=")[0])


def test_one_address_is_found_and_deleted(fake: FakeSendGrid) -> None:
    fake.suppressions.add("bounces", "ann+x@example.com", 1000)
    path = "suppression/bounces/ANN%2Bx%40example.com"
    assert [entry["email"] for entry in read(fake, path)] == ["ann+x@example.com"]
    assert call(fake, "DELETE", path).status_code == 204
    assert read(fake, path) == []
    assert call(fake, "DELETE", path).status_code == 404


def test_many_addresses_are_deleted_by_name_or_all(fake: FakeSendGrid) -> None:
    for number in range(4):
        fake.suppressions.add("bounces", f"ann{number}@example.com")
    path = "suppression/bounces"
    bodies: list[dict[str, Any]] = [
        {},
        {"delete_all": False},
        {"delete_all": True, "emails": ["ann0@example.com"]},
        {"emails": []},
    ]
    for body in bodies:
        assert error(call(fake, "DELETE", path, body)) == (400, "emails")
    assert call(fake, "DELETE", path, {"emails": ["ann0@example.com", "ann1@example.com"]}).status_code == 204
    assert fake.suppressions.emails("bounces") == ["ann2@example.com", "ann3@example.com"]
    assert call(fake, "DELETE", path, {"delete_all": True}).status_code == 204
    assert fake.suppressions.emails("bounces") == []


def test_global_unsubscribes_are_added_asked_and_deleted(fake: FakeSendGrid) -> None:
    body = {"recipient_emails": ["ann@example.com", "bob@example.com"]}
    answer = call(fake, "POST", "asm/suppressions/global", body)
    assert (answer.status_code, answer.json()) == (201, body)
    assert sorted(emails(fake, "suppression/unsubscribes")) == ["ann@example.com", "bob@example.com"]
    ann = "asm/suppressions/global/ann%40example.com"
    assert read(fake, ann) == {"recipient_email": "ann@example.com"}
    assert call(fake, "DELETE", ann).status_code == 204
    assert read(fake, ann) == {}
    # The list itself has no such call.
    assert call(fake, "DELETE", "suppression/unsubscribes/bob%40example.com").status_code == 404


def test_a_group_is_made_and_has_members(fake: FakeSendGrid) -> None:
    made = call(fake, "POST", "asm/groups", {"name": "News", "description": "Our news"})
    group = made.json()["id"]
    assert made.status_code == 201
    members = f"asm/groups/{group}/suppressions"
    assert call(fake, "POST", members, {"recipient_emails": ["ann@example.com"]}).status_code == 201
    assert read(fake, members) == ["ann@example.com"]
    (listed,) = read(fake, "asm/groups")
    assert (listed["name"], listed["unsubscribes"], listed["is_default"]) == ("News", 1, False)
    (entry,) = read(fake, "asm/suppressions")
    assert (entry["email"], entry["group_id"], entry["group_name"]) == ("ann@example.com", group, "News")
    (of_ann,) = read(fake, "asm/suppressions/ann%40example.com")["suppressions"]
    assert of_ann["suppressed"]
    assert call(fake, "DELETE", f"{members}/ann%40example.com").status_code == 204
    assert read(fake, "asm/suppressions") == []
    (of_ann,) = read(fake, "asm/suppressions/ann%40example.com")["suppressions"]
    assert not of_ann["suppressed"]


def test_members_of_an_unknown_group_become_global_unsubscribes(fake: FakeSendGrid) -> None:
    members = "asm/groups/7/suppressions"
    assert call(fake, "POST", members, {"recipient_emails": ["ann@example.com"]}).status_code == 201
    assert fake.suppressions.emails("unsubscribes") == ["ann@example.com"]
    assert call(fake, "GET", members).status_code == 404
    assert call(fake, "DELETE", f"{members}/ann%40example.com").status_code == 404


@pytest.mark.parametrize(
    "body", [{}, {"recipient_emails": "ann@example.com"}, {"recipient_emails": ["ann"]}, []]
)
def test_members_that_are_no_addresses_are_refused(fake: FakeSendGrid, body: object) -> None:
    assert call(fake, "POST", "asm/suppressions/global", body).status_code == 400


@pytest.mark.parametrize(
    "body", [{"name": "News"}, {"name": "N" * 31, "description": "x"}, {"description": "x"}]
)
def test_a_group_needs_a_name_and_a_description(fake: FakeSendGrid, body: object) -> None:
    assert call(fake, "POST", "asm/groups", body).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "suppression/bounces", "suppression.bounces.read"),
        ("DELETE", "suppression/bounces/ann%40example.com", "suppression.bounces.delete"),
        ("GET", "asm/groups", "asm.groups.read"),
        ("GET", "asm/suppressions", "asm.groups.suppressions.read"),
        ("DELETE", "asm/groups/7/suppressions/ann%40example.com", "asm.groups.suppressions.delete"),
        ("POST", "asm/suppressions/global", "asm.suppressions.global.create"),
    ],
)
def test_a_key_without_the_scope_may_not_call(fake: FakeSendGrid, method: str, path: str, scope: str) -> None:
    fake.suppressions.add("bounces", "ann@example.com")
    fake.suppressions.add("group:7", "ann@example.com")
    body = {"recipient_emails": ["ann@example.com"]} if method == "POST" else None
    fake.account.scopes = [name for name in fake.account.scopes if name != scope]
    answer = call(fake, method, path, body)
    assert (answer.status_code, answer.json()["errors"][0]["message"]) == (403, "access forbidden")
    fake.account.scopes = [scope]
    assert call(fake, method, path, body).ok


def test_unknown_keys_paths_methods_and_bodies_are_refused(fake: FakeSendGrid) -> None:
    fake.keys = frozenset({"SG.other"})
    assert call(fake, "GET", "suppression/bounces").status_code == 401
    fake.keys = None
    assert call(fake, "GET", "suppression/jumps").status_code == 404
    assert call(fake, "POST", "suppression/bounces", {}).status_code == 405
    assert call(fake, "GET", "suppression/").status_code == 404


def test_responses_are_planned_by_the_number_of_the_call(fake: FakeSendGrid) -> None:
    fake.suppression_api.plan(2, responses.rate_limited(30))
    fake.suppression_api.plan(3, responses.accept_and_respond(503))
    assert call(fake, "GET", "suppression/bounces").status_code == 200
    assert call(fake, "GET", "suppression/bounces").status_code == 429
    add = {"recipient_emails": ["ann@example.com"]}
    assert call(fake, "POST", "asm/suppressions/global", add).status_code == 503
    assert fake.suppressions.emails("unsubscribes") == ["ann@example.com"]
    assert [made.status for made in fake.suppression_api.calls] == [200, 429, 503]


def test_events_fill_no_list_and_listed_addresses_get_mail(fake: FakeSendGrid) -> None:
    fake.suppressions.add("bounces", "ann@example.com")
    assert post_mail(fake.url, mail_body("ann@example.com", "spam.eve@example.com")).status_code == 202
    assert fake.suppressions.emails("spam_reports") == []


def test_the_client_fills_and_clears_the_lists(double: Client, fake: FakeSendGrid) -> None:
    double.suppress("bounces", "ann@example.com", 1000, reason="550 no such user")
    double.suppress("group:7", "bob@example.com", 2000)
    assert [(one.list, one.email, one.created) for one in double.suppressions] == [
        ("bounces", "ann@example.com", 1000),
        ("group:7", "bob@example.com", 2000),
    ]
    assert read(fake, "suppression/bounces")[0]["reason"] == "550 no such user"
    double.clear_suppressions()
    assert double.suppressions == []
    double.suppress("blocks", "ann@example.com")
    double.clear()
    assert double.suppressions == []


def test_the_client_is_told_of_a_wrong_list(double: Client) -> None:
    with pytest.raises(ControlFailed, match="no list 'jumps'"):
        double.suppress("jumps", "ann@example.com")
    with pytest.raises(ControlFailed, match="an entry of unsubscribes has no reason"):
        double.suppress("unsubscribes", "ann@example.com", reason="x")
