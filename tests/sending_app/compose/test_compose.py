"""Any Django message becomes a mail, and is itself left as it was."""

import copy
import json
import warnings
from dataclasses import asdict
from typing import Any

import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives
from hypothesis import given
from hypothesis import strategies as st

from sending_app.compose import compose
from sending_app.compose.addresses import encoder
from sending_app.exceptions import SerializationError
from sending_app.mail import AttachedFile
from tests.support.sending.composed_messages import composed, rules
from tests.support.strategies import json_value

data = st.dictionaries(st.text(max_size=5), json_value, max_size=3)
people = st.dictionaries(st.sampled_from(["a@x.example", "b@x.example"]), data, max_size=2)


def test_a_plain_django_message_is_composed() -> None:
    found = compose(EmailMessage("s", "b", "f@x.example", ["t@x.example"]), rules())
    (envelope,) = found.mail.personalizations
    assert asdict(found.mail) == {
        "shared": {
            "body": {
                "from": {"email": "f@x.example"},
                "subject": "s",
                "content": [{"type": "text/plain", "value": "b"}],
            },
            "global_data": {},
            "dynamic": False,
            "field_format": None,
            "extra": {},
            "tracked": True,
            "unsubscribe_scope": "",
        },
        "personalizations": [
            {
                "id": envelope.id,
                "to": [{"email": "t@x.example"}],
                "cc": [],
                "bcc": [],
                "merge_data": {},
                "metadata": {},
                "headers": {},
                "given": None,
            }
        ],
        "attachments": [],
        "is_batch": False,
        "bulk": None,
    }


def test_attributes_set_on_a_django_message_are_composed() -> None:
    message: Any = EmailMultiAlternatives("s", "b", "f@x.example", ["t@x.example"])
    message.tags = ["a"]
    message.open_tracking = False
    body = compose(message, rules()).mail.shared.body
    assert body["categories"] == ["a"]
    assert body["tracking_settings"] == {"open_tracking": {"enable": False}}


def test_attachments_of_defaults_and_message_are_combined() -> None:
    mail = composed(
        rules(send_defaults={"attachments": [("terms.txt", "t", "text/plain")]}),
        attachments=[("a.txt", "é", "text/plain")],
    ).mail
    assert mail.attachments == [
        AttachedFile(content=b"t", filename="terms.txt", type="text/plain"),
        AttachedFile(content="é".encode(), filename="a.txt", type="text/plain"),
    ]


@pytest.mark.parametrize("bulk", [True, False, None])
def test_bulk_chooses_the_lane(bulk: bool | None) -> None:
    assert composed(bulk=bulk).mail.bulk is bulk
    assert composed(rules(send_defaults={"bulk": True}), bulk=bulk).mail.bulk is bulk


def test_bulk_other_than_true_or_false_is_refused() -> None:
    with pytest.raises(SerializationError, match="bulk is 'yes'; it takes True and False"):
        composed(bulk="yes")


def test_domains_are_encoded_by_the_given_rule() -> None:
    found = composed(rules(idna=encoder("none")), to=["t@bücher.example"])
    assert found.mail.personalizations[0].to == [{"email": "t@bücher.example"}]


@given(people, data, st.sampled_from(["d-1", "d-2"]))
def test_a_composed_mail_is_serializable_as_json(
    merge_data: dict[str, Any], global_data: dict[str, Any], template: str
) -> None:
    attributes: dict[str, Any] = {
        "merge_data": merge_data,
        "merge_global_data": global_data,
        "esp_extra": {"mail_settings": global_data, "personalizations": {"future": global_data}},
    }
    before = copy.deepcopy(attributes)
    mail = composed(to=["a@x.example", "b@x.example"], template_id=template, **attributes).mail
    assert attributes == before
    written = {
        "shared": asdict(mail.shared),
        "personalizations": [asdict(one) for one in mail.personalizations],
    }
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    assert [one.merge_data for one in mail.personalizations] == [
        merge_data.get(address, {}) for address in ("a@x.example", "b@x.example")
    ]
    assert mail.shared.global_data == global_data


@given(
    *(st.dictionaries(st.sampled_from("abc"), st.text(max_size=3), max_size=3) for _ in range(4)),
)
def test_merge_data_of_the_recipient_overrides_global_data_and_defaults(
    default_global: dict[str, Any], own_global: dict[str, Any], default: dict[str, Any], own: dict[str, Any]
) -> None:
    """What payload.build lays over each other is, from the weakest: global, then the recipient's own."""
    mail = composed(
        rules(send_defaults={"merge_global_data": default_global, "merge_data": {"t@x.example": default}}),
        merge_global_data=own_global,
        merge_data={"t@x.example": own},
        template_id="d-1",
    ).mail
    assert mail.shared.global_data | mail.personalizations[0].merge_data == {
        **default_global,
        **own_global,
        **default,
        **own,
    }


def test_compose_does_not_change_the_message() -> None:
    message: Any = EmailMultiAlternatives("s", "b", "f@x.example", ["t@x.example"])
    message.attach_alternative("<h>", "text/html")
    message.extra_headers = {"Reply-To": "r@x.example", "X-A": 1}
    message.merge_data = {"t@x.example": {"n": 1}}
    message.esp_extra = {"merge_field_format": "-{}-", "personalizations": {"a": {"b": 1}}}
    before = copy.deepcopy(vars(message))
    compose(message, rules(send_defaults={"esp_extra": {"asm": {"group_id": 1}}, "headers": {"X-B": 1}}))
    assert vars(message) == before


def test_composing_a_message_issues_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        composed(merge_data={"t@x.example": {"n": 1}}, template_id="d-1")
