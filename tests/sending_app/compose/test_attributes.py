"""A message's attributes stand over the defaults': each in the way of its kind."""

import copy
from typing import Any

import pytest
from django.core.mail import EmailMessage
from django.utils.functional import lazystr
from hypothesis import given
from hypothesis import strategies as st

from sending_app.compose.attributes import combine
from sending_app.exceptions import (
    AnymailUnsupportedFeature,
    MailError,
    SerializationError,
    UnsupportedFeature,
)
from sending_app.mail import merge_deep
from sending_app.message import SendGridMessage
from tests.support.sending.composed_messages import rules
from tests.support.strategies import leaves, nested_dicts

flat = st.dictionaries(st.sampled_from("abc"), leaves, max_size=3)
nested = st.dictionaries(st.sampled_from(["x@y", "z@y"]), flat, max_size=2)


def combined(defaults: dict[str, Any], **attributes: Any) -> dict[str, Any]:
    message = EmailMessage()
    for name, value in attributes.items():
        setattr(message, name, value)
    return combine(message, defaults)


def test_unset_attributes_are_absent() -> None:
    assert combine(EmailMessage("s", "b", "f@x", ["t@x"]), {}) == {
        "from_email": "f@x",
        "subject": "s",
        "body": "b",
        "to": ["t@x"],
        "cc": [],
        "bcc": [],
        "reply_to": [],
        "attachments": [],
        "extra_headers": {},
    }


@pytest.mark.parametrize(
    ("name", "default", "own", "expected"),
    [
        ("tags", ["a"], ["b"], ["a", "b"]),
        ("to", ["a@x"], ["b@x"], ["a@x", "b@x"]),
        ("cc", ["a@x"], [], ["a@x"]),
        ("bcc", ("a@x",), ["b@x"], ["a@x", "b@x"]),
        ("reply_to", ["a@x"], ["b@x"], ["a@x", "b@x"]),
        ("metadata", {"a": 1, "b": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ("metadata", {"a": {"x": 1}}, {"a": {"y": 2}}, {"a": {"y": 2}}),
        ("extra_headers", {"X-A": "1", "X-B": "1"}, {"X-B": "2"}, {"X-A": "1", "X-B": "2"}),
        ("merge_global_data", {"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ("merge_data", {"a@x": {"n": 1, "m": 1}}, {"a@x": {"n": 2}}, {"a@x": {"n": 2, "m": 1}}),
        ("merge_data", {"a@x": {"n": 1}}, {"b@x": {"n": 2}}, {"a@x": {"n": 1}, "b@x": {"n": 2}}),
        ("merge_data", {"a@x": {"n": {"p": 1}}}, {"a@x": {"n": {"q": 1}}}, {"a@x": {"n": {"q": 1}}}),
        ("merge_metadata", {"a@x": {"n": 1}}, {"a@x": None}, {"a@x": {"n": 1}}),
        ("merge_headers", {"a@x": {"X-A": "1"}}, {"a@x": {"X-B": "2"}}, {"a@x": {"X-A": "1", "X-B": "2"}}),
        ("esp_extra", {"a": {"b": {"c": 1}}}, {"a": {"b": {"d": 2}}}, {"a": {"b": {"c": 1, "d": 2}}}),
        ("subject", "default", "own", "own"),
        ("subject", "default", "", ""),
        ("template_id", "d-1", "d-2", "d-2"),
        ("track_opens", True, False, False),
        ("bulk", True, False, False),
        ("send_at", 1, 2, 2),
    ],
)
def test_message_attributes_are_combined_with_defaults(
    name: str, default: Any, own: Any, expected: Any
) -> None:
    assert combined({name: default}, **{name: own})[name] == expected


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("tags", ["a"]),
        ("metadata", {"a": 1}),
        ("merge_data", {"a@x": {"n": 1}}),
        ("merge_headers", {"a@x": {"X-A": "1"}}),
        ("esp_extra", {"a": {"b": 1}}),
        ("template_id", "d-1"),
        ("envelope_sender", "a@x"),
        ("send_at", 5),
        ("track_clicks", True),
    ],
)
def test_a_none_on_the_message_cancels_a_default(name: str, default: Any) -> None:
    assert combined({name: default})[name] == default
    assert name not in combined({name: default}, **{name: None})


def test_a_default_of_none_is_ignored() -> None:
    assert "tags" not in combined({"tags": None})
    assert combined({"tags": None}, tags=["a"])["tags"] == ["a"]


def test_default_headers_are_combined_with_extra_headers() -> None:
    assert combined({"headers": {"X-A": "1"}}, extra_headers={"X-B": "2"})["extra_headers"] == {
        "X-A": "1",
        "X-B": "2",
    }


def test_both_spellings_of_a_tracking_option_are_equivalent() -> None:
    found = combined({}, open_tracking=True, click_tracking=False)
    assert (found["track_opens"], found["track_clicks"]) == (True, False)
    assert not found.keys() & {"open_tracking", "click_tracking"}
    assert combined({"track_opens": True}, open_tracking=False)["track_opens"] is False
    assert combined({"click_tracking": True}, track_clicks=False)["track_clicks"] is False
    assert combined({}, open_tracking=True, track_opens=True)["track_opens"] is True
    assert "track_opens" not in combined({"track_opens": True}, open_tracking=None)


def test_contradicting_spellings_of_a_tracking_option_are_refused() -> None:
    with pytest.raises(UnsupportedFeature, match="track_opens and open_tracking are one option"):
        combined({}, open_tracking=True, track_opens=False)


@pytest.mark.parametrize("name", ["to", "cc", "bcc", "reply_to", "tags"])
@pytest.mark.parametrize("value", ["a@x", lazystr("a@x"), b"a@x", {"a@x": 1}, 5])
def test_a_list_attribute_of_another_type_is_refused(name: str, value: Any) -> None:
    with pytest.raises(SerializationError, match=f'"{name}" must be a list or tuple'):
        combined({}, **{name: value})
    with pytest.raises(SerializationError, match=f'"{name}" must be a list or tuple'):
        combined({name: value})


@pytest.mark.parametrize(
    "name", ["metadata", "merge_data", "esp_extra", "merge_global_data", "extra_headers"]
)
def test_a_dict_attribute_of_another_type_is_refused(name: str) -> None:
    with pytest.raises(SerializationError, match=f'"{name}" must be a dict'):
        combined({}, **{name: ["a"]})


def test_merge_data_of_a_recipient_must_be_a_dict() -> None:
    with pytest.raises(SerializationError, match=r"merge_data\['a@x'\]\" must be a dict"):
        combined({}, merge_data={"a@x": "text"})


def test_lazy_text_is_evaluated_in_all_attributes() -> None:
    lazy = lazystr("soon")
    found = combined(
        {"metadata": {"a": lazy}, "subject": lazy},
        subject=lazy,
        tags=[lazy],
        merge_data={"a@x": {"n": lazy}},
        merge_headers={"a@x": {"X-A": lazy}},
        merge_global_data={"g": [lazy]},
        esp_extra={"a": {"b": lazy}},
        template_id=lazy,
    )
    found = {name: value for name, value in found.items() if value}
    del found["from_email"]
    assert found == {
        "subject": "soon",
        "tags": ["soon"],
        "metadata": {"a": "soon"},
        "merge_data": {"a@x": {"n": "soon"}},
        "merge_headers": {"a@x": {"X-A": "soon"}},
        "merge_global_data": {"g": ["soon"]},
        "esp_extra": {"a": {"b": "soon"}},
        "template_id": "soon",
    }
    assert type(found["subject"]) is str


def test_a_value_that_is_not_serializable_is_refused_by_name() -> None:
    with pytest.raises(SerializationError, match=r"merge_data\['a@x'\]\['when'\] is a set"):
        combined({}, merge_data={"a@x": {"when": {1}}})


def test_attributes_not_passed_to_a_message_leave_the_defaults() -> None:
    message = SendGridMessage(to=["a@x"], tags=None)
    found = combine(message, {"tags": ["a"], "metadata": {"b": 1}})
    assert "tags" not in found
    assert found["metadata"] == {"b": 1}


@given(flat, flat)
def test_metadata_is_merged_like_dicts(default: dict[str, Any], own: dict[str, Any]) -> None:
    assert combined({"metadata": default}, metadata=own)["metadata"] == default | own


@given(nested, nested)
def test_merge_data_is_merged_by_recipient(default: dict[str, Any], own: dict[str, Any]) -> None:
    before = copy.deepcopy((default, own))
    found = combined({"merge_data": default}, merge_data=own)["merge_data"]
    assert found == {
        address: default.get(address, {}) | own.get(address, {}) for address in default.keys() | own.keys()
    }
    for inner in found.values():
        inner["changed"] = True
    assert (default, own) == before


@given(nested_dicts, nested_dicts)
def test_a_deep_merge_prefers_each_leaf_of_the_second_dict(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    before = copy.deepcopy((first, second))
    merged = merge_deep(first, second)
    assert merge_deep(merged, second) == merged
    assert merge_deep({}, second) == second
    assert merge_deep(first, {}) == first
    assert merged.keys() == first.keys() | second.keys()
    for name in merged:
        if isinstance(first.get(name), dict) and isinstance(second.get(name), dict):
            assert merged[name] == merge_deep(first[name], second[name])
        else:
            assert merged[name] == second.get(name, first.get(name))
    assert (first, second) == before


def test_refuse_raises_for_an_unsupported_feature() -> None:
    with pytest.raises(UnsupportedFeature, match="SendGrid does not support flying") as caught:
        rules().refuse("flying")
    assert isinstance(caught.value, MailError)
    assert isinstance(caught.value, ValueError)
    assert AnymailUnsupportedFeature is UnsupportedFeature


def test_refuse_does_not_raise_when_unsupported_features_are_ignored() -> None:
    rules(ignore_unsupported=True).refuse("flying")
