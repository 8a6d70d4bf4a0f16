"""`esp_extra` is stronger than the message, and what is meant for us does not reach SendGrid."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sending_app.exceptions import ConfigurationError, SerializationError, UnsupportedFeature
from sending_app.mail import Personalization, merge_deep
from tests.support.sending.composed_messages import body_of, composed, rules
from tests.support.strategies import nested_dicts

TO = {"to": [{"email": "a@x.example"}]}


def test_esp_extra_is_merged_into_the_body() -> None:
    found = body_of(
        open_tracking=True,
        metadata={"a": 1},
        tags=["a"],
        esp_extra={
            "asm": {"group_id": 1},
            "tracking_settings": {"open_tracking": {"substitution_tag": "%%PIXEL%%"}},
            "custom_args": {"b": "2"},
            "categories": ["b"],
            "subject": "other",
        },
    )
    assert found["asm"] == {"group_id": 1}
    assert found["tracking_settings"] == {"open_tracking": {"enable": True, "substitution_tag": "%%PIXEL%%"}}
    assert found["custom_args"] == {"a": "1", "b": "2"}
    assert found["categories"] == ["b"]
    assert found["subject"] == "other"


def test_reply_to_of_esp_extra_replaces_the_reply_to_list() -> None:
    found = body_of(reply_to=["r@x.example"], esp_extra={"reply_to": {"email": "o@x.example"}})
    assert found["reply_to"] == {"email": "o@x.example"}
    assert "reply_to_list" not in found


def test_our_own_options_are_removed_from_esp_extra() -> None:
    extra = {
        "merge_field_format": "-{}-",
        "use_dynamic_template": True,
        "personalizations": {"future": 1},
        "asm": {},
    }
    before = copy.deepcopy(extra)
    assert body_of(esp_extra=extra) == body_of() | {"asm": {}}
    assert extra == before


def test_esp_extra_of_the_message_overrides_the_defaults() -> None:
    defaults = {"esp_extra": {"asm": {"group_id": 1, "groups_to_display": [1]}, "ip_pool_name": "a"}}
    found = body_of(rules(send_defaults=defaults), esp_extra={"asm": {"group_id": 2}})
    assert found["asm"] == {"group_id": 2, "groups_to_display": [1]}
    assert found["ip_pool_name"] == "a"


# Deep values below names that are not the message's own.
@given(nested_dicts, nested_dicts, st.booleans())
def test_esp_extra_overrides_attributes_and_defaults(
    default: dict[str, Any], own: dict[str, Any], tracked: bool
) -> None:
    found = body_of(
        rules(send_defaults={"esp_extra": {"mail_settings": default}}),
        esp_extra={"mail_settings": own, "tracking_settings": {"open_tracking": {"enable": True}}},
        track_opens=tracked,
    )
    assert found["mail_settings"] == merge_deep(default, own)
    assert found["tracking_settings"] == {"open_tracking": {"enable": True}}


def test_x_smtpapi_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="x-smtpapi"):
        composed(esp_extra={"x-smtpapi": {}})


@pytest.mark.parametrize("field_format", ["", "no place", "{", "{name}", 5])
def test_an_invalid_merge_field_format_is_refused(field_format: Any) -> None:
    with pytest.raises(SerializationError, match=r'esp_extra\["merge_field_format"\] must'):
        composed(esp_extra={"merge_field_format": field_format})


def test_attachments_of_esp_extra_replace_those_of_the_message() -> None:
    attachments = [{"content": "eA==", "filename": "x", "type": "a/b"}]
    mail = composed(attachments=[("a.txt", "a", "text/plain")], esp_extra={"attachments": attachments}).mail
    assert mail.attachments == []
    assert mail.shared.body["attachments"] == attachments


# Personalizations


def test_b2_personalizations_given_as_a_dict_are_copied_and_not_shared() -> None:
    extra: dict[str, Any] = {"personalizations": {"custom_args": {"a": "1"}}}
    mail = composed(to=["a@x.example", "b@x.example"], merge_data={}, esp_extra=extra).mail
    assert mail.shared.extra == {"custom_args": {"a": "1"}}
    assert mail.shared.extra["custom_args"] is not extra["personalizations"]["custom_args"]
    assert [envelope.given for envelope in mail.personalizations] == [None, None]
    assert len({envelope.id for envelope in mail.personalizations}) == 2


def test_personalizations_given_as_a_list_replace_the_recipients() -> None:
    personalizations: list[dict[str, Any]] = [
        {"to": [{"email": "a@x.example", "name": "A"}], "subject": "for A"},
        {
            "to": [{"email": "b@x.example"}],
            "cc": [{"email": "c@x.example"}],
            "bcc": [{"email": "d@x.example"}],
        },
    ]
    found = composed(to=["t@x.example"], metadata={"m": 1}, esp_extra={"personalizations": personalizations})
    first, second = found.mail.personalizations
    assert first == Personalization(
        id=first.id, to=[{"email": "a@x.example", "name": "A"}], given=personalizations[0]
    )
    assert second == Personalization(
        id=second.id,
        to=[{"email": "b@x.example"}],
        cc=[{"email": "c@x.example"}],
        bcc=[{"email": "d@x.example"}],
        given=personalizations[1],
    )
    assert first.id != second.id
    assert found.copies == {
        "a@x.example": [first.id],
        "b@x.example": [second.id],
        "c@x.example": [second.id],
        "d@x.example": [second.id],
    }
    assert found.mail.is_batch
    assert found.mail.shared.extra == {}
    assert "personalizations" not in found.mail.shared.body


def test_one_given_personalization_is_not_a_batch() -> None:
    assert not composed(esp_extra={"personalizations": [TO]}).mail.is_batch


@pytest.mark.parametrize("kind", ["to", "cc", "bcc"])
def test_personalizations_given_as_a_dict_with_recipients_are_refused(kind: str) -> None:
    with pytest.raises(UnsupportedFeature, match=f"cannot have '{kind}'"):
        composed(esp_extra={"personalizations": {kind: [{"email": "a@x.example"}]}})


@pytest.mark.parametrize(
    ("personalizations", "says"),
    [
        ([], "a list that is not empty"),
        ("text", "must be a dict, or a list"),
        ([TO, {}], r'\[1\] must be a dict with "to"'),
        ([{"to": []}], r'\[0\] must be a dict with "to"'),
        (["a@x.example"], r'\[0\] must be a dict with "to"'),
        ([{"to": ["a@x.example"]}], r"\[0\]\['to'\] must be a list of"),
        ([{"to": {"email": "a@x.example"}}], r"\[0\]\['to'\] must be a list of"),
        ([{**TO, "cc": [{"name": "C"}]}], r"\[0\]\['cc'\] must be a list of"),
        ([{**TO, "bcc": [{"email": 5}]}], r"\[0\]\['bcc'\] must be a list of"),
    ],
)
def test_invalid_personalizations_are_refused(personalizations: Any, says: str) -> None:
    with pytest.raises(SerializationError, match=says):
        composed(esp_extra={"personalizations": personalizations})
