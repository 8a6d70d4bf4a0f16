"""Addresses from the caller's spelling to SendGrid's events and back, with both backends."""

import random
from typing import Any

import pytest
from pytest_django import Settings

from fake_sendgrid import scenarios
from fake_sendgrid.server import FakeSendGrid
from sending_app import timeline
from sending_app.exceptions import InvalidAddress
from tests.support.sending.django_mail import (
    QUEUED,
    Arrived,
    django_message,
    post_due_mail,
    use_backend,
)
from tests.support.sending.mail_events import EVENT_TIME, receive_events

ODD_DOTS = ['"a..b"@docomo.example', '".a"@docomo.example', '"a."@docomo.example']


@pytest.fixture(autouse=True)
def chosen(backend: str, settings: Settings, sendgrid: FakeSendGrid) -> None:
    use_backend(settings, backend)


def personalizations(arrived: Arrived) -> list[dict[str, Any]]:
    (body,) = arrived()
    found: list[dict[str, Any]] = body["personalizations"]
    return found


def test_needed_quotes_are_sent(arrived: Arrived) -> None:
    first, second, third = ODD_DOTS
    django_message(from_email=first, to=[first], cc=[second], bcc=[third], reply_to=[f"Ann <{first}>"]).send()
    (body,) = arrived()
    assert body["from"] == {"email": first}
    assert body["reply_to_list"] == [{"email": first, "name": "Ann"}]
    (one,) = body["personalizations"]
    assert (one["to"], one["cc"], one["bcc"]) == ([{"email": first}], [{"email": second}], [{"email": third}])


@pytest.mark.parametrize("address", ODD_DOTS)
def test_missing_quotes_are_added_for_recipients_alone(address: str, arrived: Arrived) -> None:
    bare = address.replace('"', "")
    message = django_message(from_email=bare, to=[bare], reply_to=[bare], merge_data={bare: {"-n-": "1"}})
    message.send()
    (body,) = arrived()
    assert (body["from"], body["reply_to_list"]) == ({"email": bare}, [{"email": address}])
    (one,) = body["personalizations"]
    assert (one["to"], one["substitutions"]) == ([{"email": address}], {"-n-": "1"})
    assert list(message.anymail_status.recipients) == [bare]


@pytest.mark.parametrize(
    ("written", "key", "sent"),
    [
        *((address, address, address) for address in ODD_DOTS),
        ('Ann <"a..b"@docomo.example>', '"a..b"@docomo.example', '"a..b"@docomo.example'),
        ('"o\'neil"@example.com', '"o\'neil"@example.com', "o'neil@example.com"),
        ("ann @example.com", "ann @example.com", "ann@example.com"),
        ("ann\t@example.com", "ann\t@example.com", "ann@example.com"),
        ("\tann@example.com\u00a0", "ann@example.com", "ann@example.com"),
        ("Ann\t<ann@example.com>\r\n", "ann@example.com", "ann@example.com"),
        ("Ann <ann @example.com>", "ann @example.com", "ann@example.com"),
        ("ann@example.com (Ann)", "ann@example.com", "ann@example.com"),
        ("Ann@Bücher.example", "Ann@Bücher.example", "Ann@xn--bcher-kva.example"),
        ("groß@example.com", "groß@example.com", "groß@example.com"),
    ],
)
def test_merge_attributes_and_status_are_found_as_written_in_to(
    written: str, key: str, sent: str, arrived: Arrived, backend: str
) -> None:
    message = django_message(
        to=["bob@example.com", written],
        merge_data={key: {"-n-": "1"}},
        merge_metadata={key: {"order": 7}},
        merge_headers={key: {"X-Order": "7"}},
    )
    message.send()
    other, one = personalizations(arrived)
    assert one["to"][0]["email"] == sent
    assert one["substitutions"] == {"-n-": "1"}
    assert one["custom_args"]["order"] == "7"
    assert one["headers"] == {"X-Order": "7"}
    assert not other.keys() & {"substitutions", "headers"}
    recipients = message.anymail_status.recipients
    assert list(recipients) == ["bob@example.com", key]
    assert recipients[key].status == "queued"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('"bounce..b"@docomo.example', "bounced"),
        ("Bob <bounce..b@docomo.example>", "bounced"),
        ("bounce @example.com", "bounced"),
        ("Bounce@Example.com", "bounced"),
        ("ann@bücher.example", "delivered"),
    ],
)
@pytest.mark.django_db
def test_events_move_the_status_under_the_address_as_written(
    written: str, expected: str, sendgrid: FakeSendGrid, backend: str
) -> None:
    message = django_message(to=[written])
    message.send()
    post_due_mail()
    (mail,) = sendgrid.accepted
    receive_events(*scenarios.events(mail.body, mail.x_message_id, EVENT_TIME, random.Random(1)))
    timeline.refresh(message.anymail_status)
    (recipient,) = message.anymail_status.recipients.values()
    assert recipient.status == (expected if backend == QUEUED else "queued")  # the outbox has no direct mail


@pytest.mark.parametrize("key", ["ann@example.com\t", "\u00a0ann@example.com\n", "ann\t@example.com"])
def test_merge_data_is_found_under_the_text_of_a_table(key: str, arrived: Arrived) -> None:
    django_message(to=[key], merge_data={key: {"-n-": "1"}}).send()
    (one,) = personalizations(arrived)
    assert (one["to"], one["substitutions"]) == ([{"email": "ann@example.com"}], {"-n-": "1"})


def test_addresses_that_differ_beyond_ascii_case_are_two_recipients(arrived: Arrived) -> None:
    both = ["gross@example.com", "groß@example.com"]
    message = django_message(
        to=both, reply_to=both, cc=["GROSS@example.com", "i@example.com", "İ@example.com", "I@example.com"]
    )
    message.send()
    (body,) = arrived()
    assert [one["email"] for one in body["reply_to_list"]] == both
    (one,) = body["personalizations"]
    assert [to["email"] for to in one["to"]] == both
    assert [cc["email"] for cc in one["cc"]] == ["i@example.com", "İ@example.com"]
    assert set(both) <= set(message.anymail_status.recipients)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("an\u200bn@example.com", r"ZERO WIDTH SPACE \(U\+200B\)"),
        ("ann@exam\ufeffple.com", r"ZERO WIDTH NO-BREAK SPACE \(U\+FEFF\)"),
        ("an\u00a0n@example.com", r"NO-BREAK SPACE \(U\+00A0\)"),
        ("an\u00adn@example.com", r"SOFT HYPHEN \(U\+00AD\)"),
        ("Ann <ann\u2060@example.com>", r"WORD JOINER \(U\+2060\)"),
        ("ann@example.com\u200e", r"LEFT-TO-RIGHT MARK \(U\+200E\)"),
        ("ann@[127.0.0.1]", "SendGrid sends to none"),
        ("ann@example", "no dot"),
        ("ann@-example.com", "hyphen"),
        (f"{'a' * 65}@example.com", "64 octets"),
        (f"ann@{'a' * 64}.com", "63 octets"),
        (f"ann@{'a.' * 126}com", "253 octets"),
    ],
)
@pytest.mark.parametrize("field", ["to", "cc", "bcc", "reply_to"])
def test_an_address_that_no_mailbox_can_have_is_refused(
    field: str, address: str, why: str, arrived: Arrived
) -> None:
    with pytest.raises(InvalidAddress, match=f"in {field}: .*{why}"):
        django_message(**{field: [address]}).send()
    assert arrived() == []


@pytest.mark.parametrize(
    ("written", "name"), [("Shop (EU) <shop@example.com>", "Shop (EU)"), ("shop@example.com (Shop)", "Shop")]
)
def test_a_display_name_may_have_or_be_a_comment(written: str, name: str, arrived: Arrived) -> None:
    django_message(from_email=written, to=[written], reply_to=[written]).send()
    (body,) = arrived()
    expected = {"email": "shop@example.com", "name": name}
    assert (body["from"], body["reply_to_list"]) == (expected, [expected])
    assert body["personalizations"][0]["to"] == [expected]
