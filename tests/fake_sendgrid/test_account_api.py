"""The API about the account answers as its attributes say, and only to keys with the scope."""

import pytest
import requests

from fake_sendgrid.server import FakeSendGrid

HEADERS = {"Authorization": "Bearer SG.fake"}


def ask(fake: FakeSendGrid, path: str) -> requests.Response:
    return requests.get(fake.url + path, headers=HEADERS, timeout=10)


def test_domains_are_found_by_their_name(fake: FakeSendGrid) -> None:
    fake.account.domains = {"example.com": True, "example.org": False}
    (found,) = ask(fake, "whitelabel/domains?domain=example.org").json()
    assert (found["domain"], found["valid"]) == ("example.org", False)


def test_senders_are_in_an_object(fake: FakeSendGrid) -> None:
    fake.account.senders = {"shop@example.com": True}
    (found,) = ask(fake, "verified_senders").json()["results"]
    assert (found["from_email"], found["verified"]) == ("shop@example.com", True)


def test_credits_are_counted(fake: FakeSendGrid) -> None:
    fake.account.credits_left, fake.account.credits_in_all = 30, 100
    answer = ask(fake, "user/credits").json()
    assert (answer["remain"], answer["used"], answer["total"]) == (30, 70, 100)


@pytest.mark.parametrize(
    "path",
    ["whitelabel/domains", "verified_senders", "user/credits", "user/webhooks/event/settings/all"],
)
def test_a_key_without_the_scope_may_not_ask(fake: FakeSendGrid, path: str) -> None:
    assert ask(fake, path).status_code == 200
    fake.account.scopes = ["mail.send"]
    answer = ask(fake, path)
    assert (answer.status_code, answer.json()["errors"][0]["message"]) == (403, "access forbidden")
    assert ask(fake, "scopes").json() == {"scopes": ["mail.send"]}
