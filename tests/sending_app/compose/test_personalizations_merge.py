"""Merge data reaches its recipient, in the form that the template takes."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sending_app.compose.addresses import Mailbox
from sending_app.compose.personalizations import finder
from sending_app.exceptions import AnymailWarning, MissingDelimiters, SerializationError
from tests.support.sending.composed_messages import IDNA, composed, rules

HYPHENS = {"merge_field_format": "-{}-"}
DYNAMIC = "d-5a963add2ec84305813ff860db277d7a"
LEGACY = "5997fcf6-2b9f-484d-acd5-7e9a99f0dc1f"


def merged(**attributes: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    mail = composed(**attributes).mail
    return mail.shared.global_data, [envelope.merge_data for envelope in mail.personalizations]


def test_merge_data_of_a_dynamic_template_may_be_any_json() -> None:
    data = {"n": 1, "f": 1.5, "no": None, "yes": True, "items": [{"a": 1}]}
    global_data, own = merged(
        template_id=DYNAMIC, merge_data={"t@x.example": data}, merge_global_data={"g": [1]}
    )
    assert global_data == {"g": [1]}
    assert own == [data]


@pytest.mark.parametrize("template", [LEGACY, None, "D-1"])
def test_merge_data_without_a_dynamic_template_becomes_text(template: str | None) -> None:
    mail = composed(
        template_id=template,
        merge_data={"t@x.example": {"n": 1, "f": 1.5, "yes": True, "no": None, "s": "x"}},
        merge_global_data={"g": 2, "none": None},
        esp_extra=HYPHENS,
    ).mail
    assert not mail.shared.dynamic
    assert mail.shared.field_format == "-{}-"
    assert mail.shared.global_data == {"g": "2"}
    assert mail.personalizations[0].merge_data == {"n": "1", "f": "1.5", "yes": "True", "s": "x"}
    assert mail.shared.body.get("template_id") == template


@pytest.mark.parametrize("value", [[1], {"a": 1}])
def test_lists_and_dicts_are_refused_without_a_dynamic_template(value: Any) -> None:
    with pytest.raises(SerializationError, match=r"merge_data\['t@x.example'\]\['n'\] is a (list|dict)"):
        merged(merge_data={"t@x.example": {"n": value}}, esp_extra=HYPHENS)
    with pytest.raises(SerializationError, match=r"merge_global_data\['n'\] is .* Only a dynamic template"):
        merged(merge_global_data={"n": value}, esp_extra=HYPHENS)


@pytest.mark.parametrize("template", [DYNAMIC, LEGACY])
@pytest.mark.parametrize(("value", "kind"), [(Decimal(1), "Decimal"), (datetime.now(UTC), "datetime")])
def test_merge_data_that_is_not_serializable_is_refused(template: str, value: Any, kind: str) -> None:
    with pytest.raises(SerializationError, match=rf"merge_data\['t@x.example'\]\['n'\] is a {kind}"):
        merged(template_id=template, merge_data={"t@x.example": {"n": value}})


def test_use_dynamic_template_overrides_the_detected_template_kind() -> None:
    forced = composed(
        template_id=LEGACY, merge_global_data={"g": [1]}, esp_extra={"use_dynamic_template": True}
    )
    assert forced.mail.shared.dynamic
    forced = composed(
        template_id=DYNAMIC,
        merge_global_data={"g": 1},
        esp_extra={"use_dynamic_template": False, "merge_field_format": "-{}-"},
    )
    assert not forced.mail.shared.dynamic
    assert forced.mail.shared.global_data == {"g": "1"}
    assert composed(esp_extra={"template_id": DYNAMIC}).mail.shared.dynamic


# Whose it is


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("t@x.example", "t@x.example"),
        ("Tom <t@x.example>", "t@x.example"),
        ("T@X.example", "T@X.example"),
        ("T@X.example", "t@x.EXAMPLE"),
        ("t@bücher.example", "t@bücher.example"),
        ("t@bücher.example", "t@xn--bcher-kva.example"),
        ("t@bücher.example", "T@XN--bcher-kva.example"),
        ("t@Bücher.example", "t@bücher.example"),
        ("t@bücher.example", "T@BÜCHER.example"),
        ('"a..b"@x.example', '"a..b"@x.example'),
        ('Tom <"a..b"@x.example>', '"a..b"@x.example'),
        ('"a..b"@x.example', "a..b@x.example"),
        ("a..b@x.example", "a..b@x.example"),
        ("a..b@x.example", '"A..b"@x.example'),
        ('"o\'neil"@x.example', '"o\'neil"@x.example'),
        ('"o\'neil"@x.example', "o'neil@x.example"),
        ("ann @x.example", "ann @x.example"),
        ("Ann <ann @x.example>", "ann @x.example"),
        ("ann @x.example", "ann@x.example"),
        ("ann@x.example (Ann)", "ann@x.example"),
    ],
)
def test_b3_merge_data_is_found_by_any_form_of_the_address(given: str, key: str) -> None:
    attributes = {name: {key: {"a": "1"}} for name in ("merge_data", "merge_metadata", "merge_headers")}
    envelope = composed(to=[given], esp_extra=HYPHENS, **attributes).mail.personalizations[0]
    assert (envelope.merge_data, envelope.metadata, envelope.headers) == ({"a": "1"}, {"a": "1"}, {"a": "1"})


local_parts = st.text("aB'ß.+", min_size=1, max_size=6) | st.text("aB'ß. @,<", min_size=1, max_size=6).map(
    lambda content: f'"{content}"'
)
spellings = st.builds(
    "{}{}@{}{}".format,
    local_parts,
    st.sampled_from(["", " "]),
    st.sampled_from(["", " "]),
    st.sampled_from(["x.example", "X.example", "Bücher.example", "bücher . example"]),
)


@given(spellings, st.sampled_from(["{}", "Tom <{}>", '"Tom, B" <{}>', "{} (Tom)", " {} "]))
def test_merge_data_and_id_are_found_by_the_address_as_written(address: str, written: str) -> None:
    found = composed(to=["o@x.example", written.format(address)], merge_metadata={address: {"a": "1"}})
    assert [envelope.metadata for envelope in found.mail.personalizations] == [{}, {"a": "1"}]
    assert found.copies[address] == [found.mail.personalizations[1].id]


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("gross@x.example", "groß@x.example"),
        ("i@x.example", "İ@x.example"),
        ("jörg@x.example", "JÖRG@x.example"),
        ("a.b@x.example", '"a..b"@x.example'),
        ("t@x.example", "t@ü\ud83d.example"),
    ],
)
def test_merge_data_of_another_mailbox_is_not_found(given: str, key: str) -> None:
    find = finder({key: {"a": "1"}}, IDNA)
    assert find(Mailbox("", given, given)) == {}


def test_merge_data_of_the_exact_address_takes_precedence() -> None:
    find = finder({"t@x.example": {"n": 1}, "T@x.example": {"n": 2}, "o@x.example": {}}, IDNA)
    assert find(Mailbox("", "t@x.example", "t@x.example")) == {"n": 1}
    assert find(Mailbox("", "T@x.example", "T@x.example")) == {"n": 2}
    assert find(Mailbox("", "o@x.example", "t@x.example")) == {}
    assert find(Mailbox("", "nobody@x.example", "nobody@x.example")) == {}


# Delimiters


@pytest.mark.parametrize(
    "attributes",
    [
        {"merge_data": {"t@x.example": {"name": "1", "n2": "2"}}},
        {"merge_global_data": {"name": "1"}},
        {"merge_data": {"t@x.example": {"-name-": "1"}}, "merge_global_data": {"g": "1"}},
        {"merge_data": {"t@x.example": {"name": "1"}}, "template_id": LEGACY},
    ],
)
def test_merge_names_without_delimiters_issue_a_warning(attributes: dict[str, Any]) -> None:
    with pytest.warns(MissingDelimiters, match="SENDGRID_MERGE_FIELD_FORMAT"):
        composed(**attributes)
    assert AnymailWarning is MissingDelimiters


def test_merge_names_with_delimiters_issue_no_warning() -> None:
    merge_data = {"t@x.example": {"name": "1"}}
    composed(merge_data={"t@x.example": {"-name-": "1"}}, merge_global_data={"{{g}}": "1"})
    composed(merge_data=merge_data, template_id=DYNAMIC)
    composed(merge_data=merge_data, esp_extra=HYPHENS)
    composed(rules(merge_field_format="-{}-"), merge_data=merge_data)
    composed(merge_data={}, merge_global_data={})


def test_merge_field_format_of_the_message_overrides_the_setting() -> None:
    setting = rules(merge_field_format="-{}-")
    assert composed(setting).mail.shared.field_format == "-{}-"
    assert composed(setting, esp_extra={"merge_field_format": "*{}*"}).mail.shared.field_format == "*{}*"
    assert composed(setting, esp_extra={"merge_field_format": None}).mail.shared.field_format is None
