"""A mail that SendGrid would refuse for what it lacks is refused, unless a template has it."""

from typing import Any

import pytest

from sending_app.exceptions import UnsupportedFeature
from tests.support.sending.composed_messages import body_of, composed, rules

LENIENT = rules(ignore_unsupported=True)
TO = {"to": [{"email": "a@x.example"}]}


@pytest.mark.parametrize(
    "attributes",
    [
        {"body": ""},
        {"body": None},
        {"body": "", "alternatives": [("", "text/html")]},
        {"esp_extra": {"content": []}},
        {"esp_extra": {"content": [{"type": "text/plain", "value": ""}]}},
        {"template_id": "d-1", "esp_extra": {"template_id": ""}, "body": ""},
    ],
)
def test_a_mail_without_text_is_refused(attributes: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedFeature, match="a mail without text: set body, or add an alternative, or"):
        body_of(**attributes)
    assert not any(part["value"] for part in body_of(LENIENT, **attributes).get("content", []))


@pytest.mark.parametrize(
    "attributes",
    [
        {"subject": ""},
        {"subject": None},
        {"subject": "", "esp_extra": {"personalizations": {"subject": ""}}},
        {"subject": "", "esp_extra": {"personalizations": [{**TO, "subject": "for A"}, TO]}},
        {"esp_extra": {"subject": ""}},
    ],
)
def test_a_mail_without_a_subject_is_refused(attributes: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedFeature, match="a mail without a subject: set subject, or template_id"):
        body_of(**attributes)
    assert not body_of(LENIENT, **attributes).get("subject")


@pytest.mark.parametrize(
    "attributes",
    [
        {"subject": "", "body": "", "template_id": "d-1"},
        {"subject": "", "body": "", "esp_extra": {"template_id": "d-1"}},
        {"subject": "", "body": "", "template_id": "of-the-old-kind"},
        {"body": "", "alternatives": [("<h>", "text/html")]},
        {"body": "", "esp_extra": {"content": [{"type": "text/plain", "value": "b"}]}},
        {"subject": "", "esp_extra": {"subject": "s"}},
        {"subject": "", "esp_extra": {"personalizations": {"subject": "s"}}},
        {"subject": "", "esp_extra": {"personalizations": [{**TO, "subject": "s"}]}},
    ],
)
def test_text_and_subject_may_come_from_a_template_an_alternative_or_esp_extra(
    attributes: dict[str, Any],
) -> None:
    composed(**attributes)


@pytest.mark.parametrize("template_id", ["", "d-1"])
@pytest.mark.parametrize("content", [b"", ""])
def test_an_empty_attachment_is_refused(content: Any, template_id: str) -> None:
    attributes = {"attachments": [("a.txt", content, "text/plain")], "template_id": template_id}
    with pytest.raises(UnsupportedFeature, match=r"an empty attachment \('a.txt'\): leave it out, or"):
        composed(**attributes)
    (found,) = composed(LENIENT, **attributes).mail.attachments
    assert found.content == b""
