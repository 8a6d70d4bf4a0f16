"""A request's body is what the mail says and nothing else, and no recipient gets what is another's."""

import copy
import json
from base64 import b64decode
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sending_app.api.payload import build, encode_body
from sending_app.mail import AttachedFile, Personalization, SharedContent

COMMON = SharedContent(body={"from": {"email": "shop@example.com"}, "subject": "Hello"})
MIRA = Personalization(id="id-of-mira", to=[{"email": "mira@example.net", "name": "Mira Okafor"}])
JON = Personalization(id="id-of-jon", to=[{"email": "jon@example.net"}])

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
args = st.dictionaries(st.sampled_from(["a", "b", "c", "anymail_id"]), names, max_size=4)


def personalization(common: SharedContent, envelope: Personalization) -> dict[str, Any]:
    [found] = build(common, [envelope], [])["personalizations"]
    assert isinstance(found, dict)
    return found


# What is there, and what is not


def test_a_plain_mail_is_built() -> None:
    assert build(COMMON, [MIRA], []) == {
        "personalizations": [{"to": MIRA.to, "custom_args": {"anymail_id": "id-of-mira"}}],
        "from": {"email": "shop@example.com"},
        "subject": "Hello",
    }


def test_an_untracked_mail_has_no_message_id() -> None:
    assert personalization(replace(COMMON, tracked=False), MIRA) == {"to": MIRA.to}


def test_a_personalization_with_all_fields_is_built() -> None:
    envelope = replace(
        MIRA, cc=JON.to, bcc=[{"email": "file@example.com"}], metadata={"order": "7"}, headers={"X-Shop": "1"}
    )
    assert personalization(COMMON, envelope) == {
        "to": MIRA.to,
        "cc": JON.to,
        "bcc": [{"email": "file@example.com"}],
        "headers": {"X-Shop": "1"},
        "custom_args": {"order": "7", "anymail_id": "id-of-mira"},
    }


def test_personalizations_are_built_in_order() -> None:
    found = build(COMMON, [JON, MIRA], [])["personalizations"]
    assert [one["to"] for one in found] == [JON.to, MIRA.to]
    assert [one["custom_args"]["anymail_id"] for one in found] == ["id-of-jon", "id-of-mira"]


# Merge data


def test_a_dynamic_template_gets_merge_data_unchanged() -> None:
    common = replace(COMMON, dynamic=True, field_format="-{}-", global_data={"shop": "Acme", "items": []})
    found = personalization(common, replace(MIRA, merge_data={"items": [{"n": 1}], "vip": True}))
    assert found["dynamic_template_data"] == {"shop": "Acme", "items": [{"n": 1}], "vip": True}
    assert "substitutions" not in found


def test_other_mails_get_substitutions_with_delimited_names() -> None:
    common = replace(COMMON, field_format="-{}-", global_data={"shop": "Acme", "name": "friend"})
    found = personalization(common, replace(MIRA, merge_data={"name": "Mira"}))
    assert found["substitutions"] == {"-shop-": "Acme", "-name-": "Mira"}
    assert "dynamic_template_data" not in found


def test_substitution_names_are_unchanged_without_a_merge_field_format() -> None:
    assert personalization(COMMON, replace(MIRA, merge_data={":name": "M"}))["substitutions"] == {
        ":name": "M"
    }


def test_global_data_is_in_every_personalization() -> None:
    common = replace(COMMON, dynamic=True, global_data={"shop": "Acme"})
    found = build(common, [MIRA, JON], [])["personalizations"]
    assert [one["dynamic_template_data"] for one in found] == [{"shop": "Acme"}] * 2


def test_merge_data_of_one_recipient_is_not_in_another_personalization() -> None:
    common = replace(COMMON, dynamic=True)
    found = build(common, [replace(MIRA, merge_data={"code": "m"}), JON], [])["personalizations"]
    assert "dynamic_template_data" not in found[1]


# What the caller's extra changes


def test_extra_is_merged_into_every_personalization() -> None:
    common = replace(COMMON, extra={"custom_args": {"campaign": "may"}, "send_at": 1784000000})
    found = build(common, [replace(MIRA, metadata={"order": "7"}), JON], [])["personalizations"]
    assert [one["custom_args"] for one in found] == [
        {"order": "7", "campaign": "may", "anymail_id": "id-of-mira"},
        {"campaign": "may", "anymail_id": "id-of-jon"},
    ]
    assert [one["send_at"] for one in found] == [1784000000] * 2


def test_personalizations_do_not_share_the_custom_args_of_extra() -> None:
    """Anymail's did: all of a batch went out with the last one's id."""
    extra = {"custom_args": {"campaign": "may"}}
    first, second = build(replace(COMMON, extra=extra), [MIRA, JON], [])["personalizations"]
    assert first["custom_args"]["anymail_id"] != second["custom_args"]["anymail_id"]
    assert extra == {"custom_args": {"campaign": "may"}}


@given(st.booleans(), st.fixed_dictionaries({"all": args, "own": args, "extra": args}), args, args)
def test_extra_overrides_recipient_data_and_the_message_id_overrides_all(
    dynamic: bool, data: dict[str, dict[str, str]], metadata: dict[str, str], extra_args: dict[str, str]
) -> None:
    """What is for all loses to the recipient's, that to the caller's extra, and all lose to the id."""
    merged_as = "dynamic_template_data" if dynamic else "substitutions"
    extra = {"custom_args": extra_args, merged_as: data["extra"]}
    common = replace(COMMON, dynamic=dynamic, global_data=data["all"], extra=extra)
    found = personalization(common, replace(MIRA, metadata=metadata, merge_data=data["own"]))
    assert found["custom_args"] == {**metadata, **extra_args, "anymail_id": "id-of-mira"}
    assert found.get(merged_as, {}) == {**data["all"], **data["own"], **data["extra"]}


@pytest.mark.parametrize("nonsense", [None, "text", 1, ["list"]])
def test_invalid_custom_args_are_replaced_by_the_message_id(nonsense: object) -> None:
    found = personalization(replace(COMMON, extra={"custom_args": nonsense}), MIRA)
    assert found["custom_args"] == {"anymail_id": "id-of-mira"}


# A personalization the caller wrote


def test_a_given_personalization_is_kept_and_gets_the_message_id() -> None:
    own = {"to": JON.to, "subject": "Theirs", "custom_args": {"a": "b", "anymail_id": "old"}}
    envelope = replace(JON, given=own, metadata={"not": "this"}, headers={"X-Not": "this"})
    assert personalization(replace(COMMON, global_data={"not": "this"}), envelope) == {
        "to": JON.to,
        "subject": "Theirs",
        "custom_args": {"a": "b", "anymail_id": "id-of-jon"},
    }
    assert own["custom_args"] == {"a": "b", "anymail_id": "old"}


# Attachments


def test_attachments_are_encoded_as_base64() -> None:
    files = [
        AttachedFile(content=b"\x00\xffplain", filename="a.bin", type="application/octet-stream"),
        AttachedFile(content=b"", filename="i.png", type="image/png", content_id="logo@inline"),
    ]
    plain, inline = build(COMMON, [MIRA], files)["attachments"]
    assert b64decode(plain.pop("content")) == b"\x00\xffplain"
    assert plain == {"filename": "a.bin", "type": "application/octet-stream"}
    assert inline == {
        "content": "",
        "filename": "i.png",
        "type": "image/png",
        "disposition": "inline",
        "content_id": "logo@inline",
    }


def test_attachments_in_the_body_replace_all_others() -> None:
    theirs = [{"content": "aGk=", "filename": "hi.txt"}]
    common = replace(COMMON, body={**COMMON.body, "attachments": theirs})
    ours = [AttachedFile(content=b"x", filename="x", type="text/plain")]
    assert build(common, [MIRA], ours)["attachments"] == theirs


# Where answers go


def test_a_reply_to_address_contains_the_message_id() -> None:
    reply_to = [{"email": "support+{message_id}@x.example", "name": "Shop"}, {"email": "b@x.example"}]
    common = replace(COMMON, body={**COMMON.body, "reply_to_list": reply_to})
    assert build(common, [replace(MIRA, id="0b7f6a5e-83c4-4d2f-9a3c-52a4b1f2c9d0")], [])["reply_to_list"] == [
        {"email": "support+0b7f6a5e83c44d2f9a3c52a4b1f2c9d0@x.example", "name": "Shop"},
        {"email": "b@x.example"},
    ]
    assert common.body["reply_to_list"] is reply_to
    assert reply_to[0]["email"] == "support+{message_id}@x.example"


# Any mail


@given(json_values, json_values, json_values)
def test_build_does_not_change_its_arguments(data: Any, own: Any, extra: Any) -> None:
    common = replace(
        COMMON,
        dynamic=True,
        global_data={"a": data},
        extra={"dynamic_template_data": {"a": extra}, "custom_args": {"c": "d"}},
    )
    envelopes = [replace(MIRA, merge_data={"a": own}), replace(JON, given={"custom_args": {"x": own}})]
    before = copy.deepcopy((common, envelopes))
    build(common, envelopes, [])
    assert (common, envelopes) == before


@given(st.dictionaries(names, json_values, max_size=4))
def test_the_encoded_body_is_read_back_unchanged(data: dict[str, Any]) -> None:
    body = build(replace(COMMON, dynamic=True, global_data=data), [MIRA], [])
    assert json.loads(encode_body(body)) == body


def test_the_body_is_encoded_as_compact_utf8() -> None:
    assert encode_body({"a": ["é", 1, None, True]}) == '{"a":["é",1,null,true]}'.encode()
