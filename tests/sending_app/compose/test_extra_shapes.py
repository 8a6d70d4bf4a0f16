"""What `esp_extra` makes of a body can be read back, or is refused with its place named."""

from typing import Any

import pytest

from sending_app.compose.restore import restore
from sending_app.exceptions import SerializationError
from tests.support.sending.composed_messages import CONTROL_CHARACTERS, body_of, composed

NO_ADDRESSES: list[dict[str, Any]] = [
    {},
    {"email": None},
    {"email": ""},
    {"email": "a" * 321},
    *({"email": f"a{one}@x.example"} for one in CONTROL_CHARACTERS),
    {"name": "R"},
    {"email": "f@x.example", "name": 5},
    {"email": "f@x.example", "name": "F\nBcc: b@x"},
]
TO = {"to": [{"email": "a@x.example"}]}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("from", [None, "x@example.com", *(one for one in NO_ADDRESSES if "email" in one)]),
        (
            "reply_to_list",
            [None, "x@example.com", {"email": "r@x.example"}, [None], *([one] for one in NO_ADDRESSES)],
        ),
        (
            "content",
            [None, "x", {"type": "text/plain"}, ["x"], [{"value": "x"}], [{"type": "a/b", "value": 1}]],
        ),
        ("headers", [None, "x", [], {"X-A": "a\nBcc: b@x"}, *({"X-A": one} for one in CONTROL_CHARACTERS)]),
        ("custom_args", [None, "x", []]),
        ("categories", [None, "x", {}]),
        ("template_id", [None, 5, ["d-1"], {}]),
        ("subject", [None, 5, "two\nlines", "two\rlines", *CONTROL_CHARACTERS]),
        ("send_at", [None, "soon", 1.5, True, 1_800_000_000_000, -(10**12), 10**30]),
        ("tracking_settings", [None, [], {"open_tracking": None}, {"click_tracking": True}]),
    ],
)
def test_esp_extra_of_an_invalid_shape_is_refused_by_name(name: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(SerializationError, match=rf"^esp_extra\['{name}'\] must be "):
            composed(esp_extra={name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("from", "x@example.com"),
        ("subject", None),
        ("headers", "x"),
        ("custom_args", []),
        ("substitutions", "x"),
        ("dynamic_template_data", None),
        ("send_at", "soon"),
    ],
)
def test_personalizations_of_an_invalid_shape_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(SerializationError, match=rf"^esp_extra\['personalizations'\]\['{name}'\] must be "):
        composed(esp_extra={"personalizations": {name: value}})
    with pytest.raises(
        SerializationError, match=rf"^esp_extra\['personalizations'\]\[1\]\['{name}'\] must be "
    ):
        composed(esp_extra={"personalizations": [TO, {**TO, name: value}]})


def test_send_at_in_milliseconds_is_refused_with_advice() -> None:
    with pytest.raises(SerializationError, match="a whole number of seconds since 1970"):
        composed(esp_extra={"send_at": 1_800_000_000_000})


def test_esp_extra_of_a_valid_shape_is_unchanged() -> None:
    extra = {
        "from": {"email": "o@x.example", "name": "O"},
        "reply_to_list": [{"email": "r@x.example"}, {"email": "s@x.example", "name": None}],
        "content": [{"type": "text/html", "value": "<h>"}],
        "headers": {"X-A": "1"},
        "custom_args": {"a": "1"},
        "categories": ["a"],
        "subject": "other",
        "send_at": 0,
        "tracking_settings": {"click_tracking": {"enable": True}, "ganalytics": None},
    }
    mail = composed(esp_extra=extra).mail
    assert mail.shared.body == extra
    message = restore(mail.shared, mail.personalizations)
    assert (message.from_email, message.subject, message.body) == ("O <o@x.example>", "other", "<h>")


@pytest.mark.parametrize("value", [None, "x", 5, []])
def test_unknown_keys_of_esp_extra_pass_unchanged(value: Any) -> None:
    assert body_of(esp_extra={"asm": value, "later": value}) == body_of() | {"asm": value, "later": value}


@pytest.mark.parametrize("field", ["to", "cc", "bcc"])
@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_recipients_of_an_invalid_shape_are_refused_by_name(field: str, address: dict[str, Any]) -> None:
    says = rf"^esp_extra\[\"personalizations\"\]\[0\]\['{field}'\] must be a list"
    with pytest.raises(SerializationError, match=says):
        composed(esp_extra={"personalizations": [{**TO, field: [address]}]})
