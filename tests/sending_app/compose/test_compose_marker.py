"""The place for an id in reply_to asks for a mail with one id, and for room."""

from typing import Any

import pytest

from sending_app.exceptions import InvalidAddress, UnsupportedFeature
from tests.support.sending.composed_messages import body_of, composed, rules

MARKED = "support+{message_id}@parse.x.example"
TO = {"to": [{"email": "a@x.example"}]}
LENIENT = rules(ignore_unsupported=True)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"to": ["a@x.example", "b@x.example"], "cc": ["c@x.example"]},
        {"merge_data": {}},
        {"esp_extra": {"personalizations": [TO]}},
        {"esp_extra": {"personalizations": {"headers": {"X-A": "1"}}}},
    ],
)
def test_a_message_id_in_reply_to_is_accepted_for_a_mail_with_one_id(attributes: dict[str, Any]) -> None:
    body = body_of(reply_to=[f"The shop <{MARKED}>", "other@x.example"], **attributes)
    assert body["reply_to_list"] == [{"email": MARKED, "name": "The shop"}, {"email": "other@x.example"}]


@pytest.mark.parametrize(
    "attributes",
    [
        {"reply_to": [MARKED]},
        {"reply_to": ["a@x.example", f"Shop <{MARKED}>"]},
        {"headers": {"Reply-To": MARKED}},
        {"esp_extra": {"reply_to_list": [{"email": MARKED}]}},
    ],
)
@pytest.mark.parametrize(
    "several",
    [
        {"to": ["a@x.example", "b@x.example"], "merge_data": {}},
        {"to": ["a@x.example", "b@x.example"], "merge_headers": {"a@x.example": {"X-A": "1"}}},
        {"esp_extra": {"personalizations": [TO, TO]}},
    ],
)
@pytest.mark.parametrize("under", [rules(), LENIENT])
def test_a_message_id_in_reply_to_is_refused_for_a_mail_with_several_ids(
    attributes: dict[str, Any], several: Any, under: Any
) -> None:
    both = {name: {**value, **several[name]} for name, value in attributes.items() if name in several}
    with pytest.raises(
        UnsupportedFeature, match=r"this mail has 2 ids.*batch \(merge_data.*Send each recipient a"
    ):
        composed(under, **{**attributes, **several, **both})


@pytest.mark.parametrize("under", [{}, {"ignore_unsupported": True}])
def test_a_message_id_in_reply_to_is_refused_for_an_untracked_mail(under: Any) -> None:
    with pytest.raises(UnsupportedFeature, match="SENDGRID_GENERATE_MESSAGE_ID is off"):
        composed(rules(generate_message_id=False, **under), reply_to=[MARKED])


@pytest.mark.parametrize(("name", "fits"), [("a" * 31, True), ("a" * 32, False), ("ü" * 16, False)])
def test_a_reply_to_without_room_for_the_message_id_is_refused(name: str, fits: bool) -> None:
    reply_to = [f"{name}+{{message_id}}@x.example"]
    if fits:
        assert body_of(reply_to=reply_to)["reply_to_list"]
    else:
        with pytest.raises(InvalidAddress, match="64 characters before its @, and the id has 32"):
            composed(reply_to=reply_to)


@pytest.mark.parametrize(
    "address", ["support+{id}@x.example", f"{'a' * 64}@x.example", "message_id@x.example"]
)
def test_a_reply_to_without_a_message_id_is_always_accepted(address: str) -> None:
    untracked = rules(generate_message_id=False)
    body = body_of(untracked, reply_to=[address], to=["a@x.example", "b@x.example"], merge_data={})
    assert body["reply_to_list"] == [{"email": address}]
