"""The seed's heading "Batch sending/merge and ESP templates"."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.mail import EmailMessage

from sending_app.exceptions import MissingDelimiters
from tests.support.sending.django_mail import SHARED_CONTENT, Sent, django_message, personalization_to

Change = Callable[..., None]

DYNAMIC, LEGACY = "d-5a963add2ec84305813ff860db277d7a", "5997fcf6-2b9f-484d-acd5-7e9a99f0dc1f"

#: Of the seed's examples.
TO = ["alice@example.com", "Bob <bob@example.com>"]
BOB = [{"email": "bob@example.com", "name": "Bob"}]
MERGE_DATA = {
    "alice@example.com": {"name": "Alice", "order_no": "12345"},
    "bob@example.com": {"name": "Bob", "order_no": "54321"},
}


def merged(alice: dict[str, Any], bob: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        personalization_to("alice@example.com", number=0, **alice),
        {**personalization_to(number=1, **bob), "to": BOB},
    ]


# Dynamic transactional templates


def test_the_documented_dynamic_template_example_is_sent(sent: Sent) -> None:
    message: Any = EmailMessage(
        # omit subject and body (or set to None) to use template content
        to=TO
    )
    message.template_id = DYNAMIC
    message.merge_data = MERGE_DATA
    message.merge_global_data = {"ship_date": "May 15"}
    assert sent(message) == {
        "from": {"email": "shop@example.com"},
        "template_id": DYNAMIC,
        "personalizations": merged(
            {"dynamic_template_data": {"ship_date": "May 15", "name": "Alice", "order_no": "12345"}},
            {"dynamic_template_data": {"ship_date": "May 15", "name": "Bob", "order_no": "54321"}},
        ),
    }


def test_a_dynamic_template_keeps_its_own_subject_and_body_for_none(sent: Sent) -> None:
    message = django_message(template_id=DYNAMIC)
    message.subject = message.body = None
    assert sent(message) == {
        "from": {"email": "shop@example.com"},
        "template_id": DYNAMIC,
        "personalizations": [personalization_to("ann@example.com")],
    }


def test_merge_data_of_a_dynamic_template_may_have_lists_and_objects(sent: Sent) -> None:
    data = {"items": [{"name": "Tea", "price": 2.5}, {"name": "Cup", "price": 4}], "vip": True, "note": None}
    body = sent(django_message(template_id=DYNAMIC, merge_data={"ann@example.com": data}))
    assert body["personalizations"] == [personalization_to("ann@example.com", dynamic_template_data=data)]


def test_merge_global_data_alone_makes_no_batch(sent: Sent) -> None:
    message = django_message(to=TO, template_id=DYNAMIC, merge_global_data={"ship_date": "May 15"})
    assert sent(message)["personalizations"] == [
        {
            "to": [{"email": "alice@example.com"}, *BOB],
            "dynamic_template_data": {"ship_date": "May 15"},
            "custom_args": {"anymail_id": "id-0"},
        }
    ]


# Who sees whom


@pytest.mark.parametrize("attribute", ["merge_data", "merge_metadata", "merge_headers"])
def test_recipients_of_a_batch_see_only_their_own_address(sent: Sent, attribute: str) -> None:
    assert sent(django_message(to=TO, **{attribute: {}})) == {
        **SHARED_CONTENT,
        "personalizations": merged({}, {}),
    }


def test_each_personalization_of_a_batch_has_all_cc_and_bcc(sent: Sent) -> None:
    copies = {
        "cc": [{"email": "cora@example.com", "name": "Cora"}],
        "bcc": [{"email": "dan@example.com"}],
    }
    message = django_message(to=TO, cc=["Cora <cora@example.com>"], bcc=["dan@example.com"], merge_data={})
    assert sent(message) == {**SHARED_CONTENT, "personalizations": merged(copies, copies)}
    status = message.anymail_status
    bobs = status.recipients["bob@example.com"].message_id
    assert status.recipients["cora@example.com"].message_id == bobs
    assert status.recipients["dan@example.com"].message_id == bobs


# Legacy transactional templates: three ways to say how fields are delimited

DELIMITED: dict[str, Any] = {
    **SHARED_CONTENT,
    "template_id": LEGACY,
    "personalizations": merged(
        {"substitutions": {"-ship_date-": "May 15", "-name-": "Alice", "-order_no-": "12345"}},
        {"substitutions": {"-ship_date-": "May 15", "-name-": "Bob", "-order_no-": "54321"}},
    ),
}


def of_the_legacy_example(**more: Any) -> Any:
    return django_message(
        **{
            "to": TO,
            "template_id": LEGACY,
            "merge_data": MERGE_DATA,
            "merge_global_data": {"ship_date": "May 15"},
            **more,
        }
    )


def test_merge_field_format_in_esp_extra_delimits_substitutions(sent: Sent, anymail: Change) -> None:
    assert sent(of_the_legacy_example(esp_extra={"merge_field_format": "-{}-"})) == DELIMITED
    anymail(SENDGRID_MERGE_FIELD_FORMAT="%{}%")  # for any other message
    assert sent(of_the_legacy_example(esp_extra={"merge_field_format": "-{}-"})) == DELIMITED


def test_merge_field_format_in_the_settings_delimits_substitutions(sent: Sent, anymail: Change) -> None:
    anymail(SENDGRID_MERGE_FIELD_FORMAT="-{}-")
    assert sent(of_the_legacy_example()) == DELIMITED


def test_merge_keys_with_delimiters_are_sent_unchanged(sent: Sent) -> None:
    message = of_the_legacy_example(
        merge_data={
            "alice@example.com": {"-name-": "Alice", "-order_no-": "12345"},
            "bob@example.com": {"-name-": "Bob", "-order_no-": "54321"},
        },
        merge_global_data={"-ship_date-": "May 15"},
    )
    assert sent(message) == DELIMITED


def test_merge_keys_without_any_delimiters_issue_a_warning(sent: Sent) -> None:
    with pytest.warns(MissingDelimiters, match="SENDGRID_MERGE_FIELD_FORMAT"):
        sent(django_message(template_id=LEGACY, merge_data={"ann@example.com": {"name": "Ann"}}))


# Legacy templates mix their subject and body with the message's


@pytest.mark.parametrize("nothing", ["", None])
def test_a_legacy_template_keeps_its_own_subject_and_body(sent: Sent, nothing: str | None) -> None:
    message = django_message(template_id=LEGACY)
    message.subject = message.body = nothing
    assert sent(message) == {
        "from": {"email": "shop@example.com"},
        "template_id": LEGACY,
        "personalizations": [personalization_to("ann@example.com")],
    }


def test_subject_and_body_are_sent_with_a_legacy_template(sent: Sent) -> None:
    body = sent(django_message(template_id=LEGACY))
    assert body == {
        **SHARED_CONTENT,
        "template_id": LEGACY,
        "personalizations": [personalization_to("ann@example.com")],
    }


# On-the-fly templates


def test_the_documented_on_the_fly_template_example_is_sent(sent: Sent) -> None:
    # on-the-fly template using merge fields in subject and body:
    message: Any = EmailMessage(
        subject="Your order {{order_no}} has shipped",
        body="Dear {{name}}:\nWe've shipped order {{order_no}}.",
        to=TO,
    )
    # note: no template_id specified
    message.merge_data = MERGE_DATA
    message.esp_extra = {
        # here's how to get Handlebars-style {{merge}} fields with Python's str.format:
        "merge_field_format": "{{{{{}}}}}"  # "{{ {{ {} }} }}" without the spaces
    }
    assert sent(message) == {
        "from": {"email": "shop@example.com"},
        "subject": "Your order {{order_no}} has shipped",
        "content": [
            {"type": "text/plain", "value": "Dear {{name}}:\nWe've shipped order {{order_no}}."},
        ],
        "personalizations": merged(
            {"substitutions": {"{{name}}": "Alice", "{{order_no}}": "12345"}},
            {"substitutions": {"{{name}}": "Bob", "{{order_no}}": "54321"}},
        ),
    }
