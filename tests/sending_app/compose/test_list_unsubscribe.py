"""A message with a scope has a link for each recipient: as headers, and as a merge field."""

from collections.abc import Callable
from typing import Any

import pytest

from sending_app.api.payload import build_personalization
from sending_app.compose import Composed, compose
from sending_app.compose.restore import restore
from sending_app.exceptions import ConfigurationError, SerializationError, UnsupportedFeature
from sending_app.unsubscribe_links import Link, read_token
from tests.support.sending.composed_messages import composed, rules
from tests.support.sending.unsubscribe_links import PREFIX, header_of

OWN = {"List-Unsubscribe": "<mailto:leave@x.example>"}


@pytest.fixture(autouse=True)
def prefix(anymail: Callable[..., None]) -> None:
    anymail(UNSUBSCRIBE_URL=PREFIX)


def built(made: Composed) -> list[dict[str, Any]]:
    """The personalizations of the request."""
    return [
        build_personalization(made.mail.shared, personalization)
        for personalization in made.mail.personalizations
    ]


def link_of(personalization: dict[str, Any]) -> Link:
    return read_token(header_of(personalization).removeprefix(f"{PREFIX}unsubscribe/"))


def test_a_plain_message_has_both_headers() -> None:
    made = composed(unsubscribe_scope="news", to=["Ann <Ann@x.example>"])
    (personalization,) = built(made)
    assert personalization["headers"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert link_of(personalization) == Link("Ann@x.example", "news", made.mail.personalizations[0].id)


def test_each_recipient_of_a_batch_has_a_link_beside_other_headers() -> None:
    made = composed(
        unsubscribe_scope="news",
        to=["a@x.example", "b@x.example"],
        merge_headers={"a@x.example": {"X-Name": "Ann"}},
        headers={"X-All": "1"},
    )
    ann, bob = built(made)
    assert [link_of(one).address for one in (ann, bob)] == ["a@x.example", "b@x.example"]
    assert link_of(ann).message_id != link_of(bob).message_id
    assert ann["headers"]["X-Name"] == "Ann"
    assert made.mail.shared.body["headers"] == {"X-All": "1"}


def test_a_copy_has_the_link_of_the_recipient() -> None:
    (personalization,) = built(composed(unsubscribe_scope="news", cc=["c@x.example"], bcc=["d@x.example"]))
    assert link_of(personalization).address == "t@x.example"


def test_a_mail_without_our_ids_has_a_link() -> None:
    made = composed(rules(generate_message_id=False), unsubscribe_scope="news")
    assert link_of(built(made)[0]).message_id == made.mail.personalizations[0].id


@pytest.mark.parametrize("attributes", [{}, {"unsubscribe_scope": ""}, {"unsubscribe_scope": None}])
def test_a_message_without_a_scope_has_no_link(attributes: dict[str, Any]) -> None:
    (personalization,) = built(composed(**attributes))
    assert not {"headers", "substitutions"} & personalization.keys()


@pytest.mark.parametrize("name", ["List-Unsubscribe", "list-unsubscribe", "LIST-UNSUBSCRIBE-POST"])
@pytest.mark.parametrize(
    "place",
    [
        lambda headers: {"headers": headers},
        lambda headers: {"esp_extra": {"headers": headers}},
        lambda headers: {"esp_extra": {"personalizations": {"headers": headers}}},
        lambda headers: {"merge_headers": {"t@x.example": headers}},
        lambda headers: {
            "esp_extra": {"personalizations": [{"to": [{"email": "a@x.example"}], "headers": headers}]}
        },
    ],
)
def test_a_header_of_the_caller_wins(name: str, place: Callable[[Any], dict[str, Any]]) -> None:
    made = composed(unsubscribe_scope="news", **place({name: "<mailto:leave@x.example>"}))
    (personalization,) = built(made)
    headers = {**made.mail.shared.body.get("headers", {}), **personalization.get("headers", {})}
    assert headers == {name: "<mailto:leave@x.example>"}
    assert "substitutions" not in personalization


def test_one_recipients_own_header_leaves_the_links_of_the_others() -> None:
    ann, bob = built(
        composed(
            unsubscribe_scope="news",
            to=["a@x.example", "b@x.example"],
            merge_headers={"a@x.example": OWN},
        )
    )
    assert ann["headers"] == OWN
    assert link_of(bob).address == "b@x.example"


def test_own_personalizations_get_the_header_and_stay_as_they_were() -> None:
    written: list[dict[str, Any]] = [
        {"to": [{"email": "a@x.example", "name": "Ann"}], "headers": {"X-A": "1"}, "subject": "For Ann"},
        {"to": [{"email": "b@x.example"}], "subject": "For Bob"},
    ]
    ann, bob = built(composed(unsubscribe_scope="news", esp_extra={"personalizations": written}))
    assert (ann["headers"]["X-A"], ann["subject"]) == ("1", "For Ann")
    assert [link_of(one).address for one in (ann, bob)] == ["a@x.example", "b@x.example"]
    assert written[0]["headers"] == {"X-A": "1"}
    assert "headers" not in written[1]


@pytest.mark.parametrize("under", [rules(), rules(ignore_unsupported=True)])
@pytest.mark.parametrize(
    "attributes",
    [
        {"to": ["a@x.example", "b@x.example"]},
        {"esp_extra": {"personalizations": [{"to": [{"email": "a@x.example"}, {"email": "b@x.example"}]}]}},
    ],
)
def test_a_mail_to_several_at_once_is_refused_with_advice(attributes: dict[str, Any], under: Any) -> None:
    with pytest.raises(UnsupportedFeature, match=r"2 addresses in `to`.*Set `merge_data` \(\{\} will do\)"):
        composed(under, unsubscribe_scope="news", **attributes)


def test_an_address_written_twice_is_one_recipient() -> None:
    assert built(composed(unsubscribe_scope="news", to=["a@x.example", "A@x.example"]))


def test_without_a_url_the_setting_is_named(anymail: Callable[..., None]) -> None:
    anymail(UNSUBSCRIBE_URL="")
    with pytest.raises(ConfigurationError, match=r"needs ANYMAIL\['UNSUBSCRIBE_URL'\]: the public https URL"):
        composed(unsubscribe_scope="news")
    assert composed(unsubscribe_scope="news", headers=OWN)
    assert composed()


@pytest.mark.parametrize("scope", [1, "x" * 101, " news", "news ", "ne\nws", "ne\0ws", ["news"]])
def test_a_scope_is_a_name(scope: Any) -> None:
    with pytest.raises(SerializationError, match="unsubscribe_scope is"):
        composed(unsubscribe_scope=scope)


def test_a_link_that_no_line_can_hold_is_refused() -> None:
    address = f"{'a' * 64}@{'.'.join(['b' * 60] * 4)}.example"
    assert composed(unsubscribe_scope="x" * 100, to=[address])
    with pytest.raises(UnsupportedFeature, match="shorter unsubscribe_scope"):
        composed(unsubscribe_scope="𝕏" * 100, to=[address])


@pytest.mark.parametrize(
    ("attributes", "place", "name"),
    [
        ({}, "substitutions", "-unsubscribe_url-"),
        ({"template_id": "legacy"}, "substitutions", "-unsubscribe_url-"),
        ({"esp_extra": {"merge_field_format": "%{}%"}}, "substitutions", "%unsubscribe_url%"),
        ({"template_id": "d-dynamic"}, "dynamic_template_data", "unsubscribe_url"),
        ({"template_id": "d-dynamic", "merge_data": {}}, "dynamic_template_data", "unsubscribe_url"),
    ],
)
def test_a_merge_field_has_the_link(attributes: dict[str, Any], place: str, name: str) -> None:
    (personalization,) = built(composed(unsubscribe_scope="news", **attributes))
    assert personalization[place][name] == header_of(personalization)


@pytest.mark.parametrize(
    "own",
    [
        {"merge_global_data": {"unsubscribe_url": "mine"}},
        {"merge_data": {"t@x.example": {"unsubscribe_url": "mine"}}},
        {"esp_extra": {"personalizations": {"dynamic_template_data": {"unsubscribe_url": "mine"}}}},
    ],
)
def test_a_merge_field_of_the_caller_wins(own: dict[str, Any]) -> None:
    (personalization,) = built(composed(unsubscribe_scope="news", template_id="d-dynamic", **own))
    assert personalization["dynamic_template_data"]["unsubscribe_url"] == "mine"
    assert link_of(personalization)


@pytest.mark.parametrize(
    "attributes",
    [
        {"cc": ["c@x.example"]},
        {"to": ["a@x.example", "b@x.example"], "merge_data": {}, "template_id": "d-dynamic"},
        {"esp_extra": {"personalizations": [{"to": [{"email": "a@x.example"}]}]}},
        {"headers": OWN},
    ],
)
def test_a_restored_message_has_the_scope_and_makes_the_same_mail(attributes: dict[str, Any]) -> None:
    made = composed(unsubscribe_scope="news", **attributes)
    message = restore(made.mail.shared, made.mail.personalizations)
    assert message.unsubscribe_scope == "news"
    again = compose(message, rules())

    def without_ids(of: Composed) -> list[dict[str, Any]]:
        return [{**one, "custom_args": None} for one in built(of)]

    assert without_ids(again) == without_ids(made)
    assert again.mail.shared == made.mail.shared
