"""What users import: keyword arguments, pictures in the text, what became of a message."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives

from sending_app import message as ours
from sending_app.compose.attachment import read_attachment
from sending_app.message import (
    RecipientStatus,
    SendGridMessage,
    SendGridMessageMixin,
    SendStatus,
    attach_inline_image,
    attach_inline_image_file,
)

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 16

ARGUMENTS: dict[str, Any] = {
    "envelope_sender": "bounces@x.example",
    "metadata": {"a": 1},
    "merge_data": {"a@x.example": {"n": 1}},
    "merge_global_data": {"g": 1},
    "merge_metadata": {"a@x.example": {"n": 1}},
    "merge_headers": {"a@x.example": {"X-N": "1"}},
    "tags": ["a"],
    "track_opens": True,
    "track_clicks": False,
    "open_tracking": True,
    "click_tracking": False,
    "send_at": 1_800_000_000,
    "template_id": "d-1",
    "esp_extra": {"asm": {"group_id": 1}},
    "bulk": True,
    "unsubscribe_scope": "news",
}


def test_sendgrid_features_are_keyword_arguments() -> None:
    message = SendGridMessage(
        "subject", "body", "f@x.example", ["a@x.example"], cc=["c@x.example"], **ARGUMENTS
    )
    assert (message.subject, message.body, message.to, message.cc) == (
        "subject",
        "body",
        ["a@x.example"],
        ["c@x.example"],
    )
    assert {name: getattr(message, name) for name in ARGUMENTS} == ARGUMENTS
    assert set(ours.ATTRIBUTES) == set(ARGUMENTS)


def test_attributes_not_passed_stay_unset() -> None:
    message = SendGridMessage(tags=None)
    assert message.tags is None
    assert not [name for name in ARGUMENTS if name != "tags" and hasattr(message, name)]


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(TypeError, match="tracks_opens"):
        SendGridMessage(tracks_opens=True)


def test_the_mixin_works_with_other_message_classes() -> None:
    class Plain(SendGridMessageMixin, EmailMessage):
        pass

    assert Plain(tags=["a"]).tags == ["a"]
    assert isinstance(SendGridMessage(), EmailMultiAlternatives)


def test_a_message_can_be_pickled_and_copied() -> None:
    message = SendGridMessage("s", "b", to=["a@x.example"], tags=["a"])
    for twin in (pickle.loads(pickle.dumps(message)), copy.deepcopy(message)):
        assert twin.tags == ["a"]
        assert twin.anymail_status.status is None


def test_anymail_names_are_aliases() -> None:
    assert ours.AnymailMessage is SendGridMessage
    assert ours.AnymailMessageMixin is SendGridMessageMixin
    assert ours.AnymailStatus is SendStatus
    assert ours.AnymailRecipientStatus is RecipientStatus


# Pictures


def test_an_inline_image_has_a_content_id() -> None:
    message = SendGridMessage("s", "b", to=["a@x.example"])
    content_id = message.attach_inline_image(PNG, "logo.png")
    assert content_id.startswith("img.") or ".img@" in content_id
    assert content_id.endswith("@inline")
    assert "<" not in content_id
    found = read_attachment(message.attachments[0])
    assert (found.content, found.filename, found.type) == (PNG, "logo.png", "image/png")
    assert found.content_id == content_id


def test_an_inline_image_can_be_attached_to_any_message() -> None:
    message = EmailMultiAlternatives("s", "b", to=["a@x.example"])
    content_id = attach_inline_image(message, PNG, idstring="logo", domain="x.example")
    assert content_id.endswith(".logo@x.example")
    found = read_attachment(message.attachments[0])
    assert (found.content, found.filename, found.content_id) == (PNG, "attachment.png", content_id)


def test_an_inline_image_can_be_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "logo.png"
    path.write_bytes(PNG)
    message = SendGridMessage()
    ids = [message.attach_inline_image_file(path), attach_inline_image_file(message, str(path))]
    found = [read_attachment(attachment) for attachment in message.attachments]
    assert [one.content_id for one in found] == ids
    assert [one.filename for one in found] == ["logo.png", "logo.png"]
    assert ids[0] != ids[1]


@pytest.mark.parametrize(
    ("content", "filename", "subtype", "expected"),
    [
        (PNG, "logo.jpg", None, "image/png"),
        (b"<svg/>", "logo.svg", None, "image/svg+xml"),
        (b"what is it", "x", "webp", "image/webp"),
    ],
)
def test_the_content_type_of_an_inline_image_is_guessed(
    content: bytes, filename: str, subtype: str | None, expected: str
) -> None:
    message = SendGridMessage()
    message.attach_inline_image(content, filename, subtype)
    assert read_attachment(message.attachments[0]).type == expected


def test_an_inline_image_of_unknown_type_requires_a_subtype() -> None:
    with pytest.raises(TypeError):
        SendGridMessage().attach_inline_image(b"what is it", "it.txt")


def test_a_message_with_an_inline_image_works_with_smtp() -> None:
    message = SendGridMessage("s", "b", "f@x.example", ["a@x.example"])
    content_id = message.attach_inline_image(PNG, "logo.png")
    picture: Any = list(message.message().walk())[2]
    assert picture["Content-ID"] == f"<{content_id}>"
    assert picture.get_content_disposition() == "inline"
    assert picture.get_payload(decode=True) == PNG


# What became of it


def test_a_new_message_has_no_status() -> None:
    status = SendGridMessage().anymail_status
    assert (status.message_id, status.status, status.recipients, status.esp_response) == (
        None,
        None,
        {},
        None,
    )
    assert repr(status) == "SendStatus<status=None, message_id=None, 0 recipients>"


def test_a_status_with_one_id_has_it_as_message_id() -> None:
    status = SendStatus()
    status.set_recipient_status(
        {"a@x.example": RecipientStatus("id-1", "queued"), "b@x.example": RecipientStatus("id-1", "queued")}
    )
    assert status.message_id == "id-1"
    assert status.status == {"queued"}
    assert status.recipients["a@x.example"].message_id == "id-1"
    assert repr(status) == "SendStatus<status=queued, message_id='id-1', 2 recipients>"


def test_a_status_with_several_ids_has_a_set_of_message_ids() -> None:
    status = SendStatus()
    status.set_recipient_status({"a@x.example": RecipientStatus("id-1", "queued")})
    status.set_recipient_status({"b@x.example": RecipientStatus("id-2", "rejected")})
    assert status.message_id == {"id-1", "id-2"}
    assert status.status == {"queued", "rejected"}
    assert repr(status) == "SendStatus<status=queued, rejected, message_id=2 ids, 2 recipients>"


def test_a_status_without_ids_has_no_message_id() -> None:
    status = SendStatus()
    status.set_recipient_status({"a@x.example": RecipientStatus(message_id=None, status="queued")})
    assert status.message_id is None


@pytest.mark.parametrize(
    "status",
    ["sent", "queued", "invalid", "rejected", "failed", "unknown", None, "deferred", "delivered", "bounced"],
)
def test_all_anymail_statuses_are_accepted(status: str | None) -> None:
    assert RecipientStatus("id", status).status == status


def test_other_statuses_are_refused() -> None:
    with pytest.raises(ValueError, match="Invalid status 'lost'"):
        RecipientStatus("id", "lost")


def test_an_unhashable_message_id_is_refused() -> None:
    with pytest.raises(TypeError):
        RecipientStatus([], "sent")  # type: ignore[arg-type]


def test_a_status_can_be_pickled() -> None:
    status = SendStatus()
    status.set_recipient_status({"a@x.example": RecipientStatus("id-1", "queued")})
    twin = pickle.loads(pickle.dumps(status))
    assert twin.recipients == status.recipients
    assert repr(twin) == repr(status)
