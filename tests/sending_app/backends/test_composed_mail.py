"""A message becomes the same request, or the same error, with both backends and on every database."""

from email.message import EmailMessage as Email
from email.message import Message, MIMEPart
from email.mime.image import MIMEImage
from typing import Any

import pytest
from django.core.mail.message import EmailAttachment
from django.db import transaction
from pytest_django import Settings

from fake_sendgrid.server import FakeSendGrid
from sending_app.exceptions import MailError
from sending_app.models import OutboxMessage
from tests.support.sending.django_mail import (
    DIRECT,
    QUEUED,
    REQUEST_BODY,
    SHARED_CONTENT,
    Arrived,
    connection_of,
    django_message,
    use_backend,
)

_stored = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

pytestmark = pytest.mark.parametrize(
    ("backend", "database"),
    [
        pytest.param(DIRECT, "sqlite", id="direct"),
        pytest.param(QUEUED, "sqlite", id="queued-sqlite", marks=_stored),
        pytest.param(QUEUED, "postgres", id="queued-postgres", marks=_stored),
    ],
    indirect=True,
)


@pytest.fixture(autouse=True)
def configured(settings: Settings, backend: str, database: str, sendgrid: FakeSendGrid) -> None:
    use_backend(settings, backend)


# Calendars

INVITATION = "BEGIN:VCALENDAR\nMETHOD:REQUEST\nEND:VCALENDAR\n"
IN_BASE64 = "QkVHSU46VkNBTEVOREFSCk1FVEhPRDpSRVFVRVNUCkVORDpWQ0FMRU5EQVIK"


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/calendar; method=REQUEST", "text/calendar; method=REQUEST"),
        ('text/calendar; charset="utf-8"; method=REQUEST', "text/calendar; method=REQUEST"),
        ("Text/Calendar; Method=cancel; Charset=UTF-8", "text/calendar; method=CANCEL"),
    ],
)
def test_an_invitation_keeps_its_method_as_an_alternative(
    arrived: Arrived, content_type: str, expected: str
) -> None:
    message = django_message()
    message.attach_alternative(INVITATION, content_type)
    message.attach_alternative("<p>Hello</p>", "text/html")
    message.attach_alternative("<!doctype html><html amp4email>", "text/x-amp-html")
    message.send()
    (body,) = arrived()
    assert body["content"] == [
        *SHARED_CONTENT["content"],
        {"type": "text/x-amp-html", "value": "<!doctype html><html amp4email>"},
        {"type": "text/html", "value": "<p>Hello</p>"},
        {"type": expected, "value": INVITATION},
    ]


@pytest.mark.parametrize("kind", [Message, Email, MIMEPart, EmailAttachment, tuple])
@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/calendar; method=REQUEST", "text/calendar; method=REQUEST"),
        ('text/calendar; method=CANCEL; charset="us-ascii"', "text/calendar; method=CANCEL"),
        ("text/calendar; name=invite.ics", "text/calendar"),
    ],
)
def test_an_invitation_keeps_its_method_as_a_file(
    arrived: Arrived, kind: Any, content_type: str, expected: str
) -> None:
    attachment: Any
    if kind is tuple:
        attachment = ("invite.ics", INVITATION.encode(), content_type)
    elif kind is EmailAttachment:
        attachment = EmailAttachment("invite.ics", INVITATION, content_type)
    else:
        attachment = kind()
        attachment["Content-Type"] = content_type
        attachment["Content-Disposition"] = 'attachment; filename="invite.ics"'
        attachment.set_payload(INVITATION)
    message = django_message()
    message.attachments = [attachment]  # Django 6.1 warns of a MIMEBase among the arguments
    message.send()
    assert arrived() == [
        {
            **REQUEST_BODY,
            "attachments": [{"content": IN_BASE64, "filename": "invite.ics", "type": expected}],
        }
    ]


# Refused values


def picture(content_id: str) -> MIMEImage:
    found = MIMEImage(b"\x89PNG\r\n\x1a\n")
    found["Content-ID"] = f"<{content_id}>"
    return found


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)
ANN = "ann@example.com"


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"attachments": [("a.bin", b"x", "a/" + "b" * 298)]}, "The type of the attachment 'a.bin' has 300"),
        ({"attachments": [picture("c" * 300)]}, "The Content-ID of the attachment .* has 300 characters"),
        ({"attachments": ["abc"]}, "attachments holds a str"),
        ({"attachments": [(b"a", b"x")]}, "The filename of an attachment is a bytes"),
        ({"attachments": ("a.txt", b"x", "text/plain")}, "attachments holds a str"),
        ({"attachments": [("a.txt", "\ud83d", "text/plain")]}, "An attachment cannot be read"),
        ({"alternatives": [("<h>", "text/html; format=flowed")]}, "'format' in the type of an alternative"),
        ({"alternatives": [("x", "a/" + "b" * 298)]}, "The type of an alternative has 300 characters"),
        ({"headers": {"X-A": "a\0b"}}, r"headers\['X-A'\]: a header has one line"),
        ({"headers": {"X-A": "a\x1bb"}}, r"headers\['X-A'\]: a header has one line"),
        ({"headers": {"X-A": "\ud800"}}, r"extra_headers\['X-A'\] holds half of a surrogate pair"),
        ({"headers": {"X-A": b"a"}}, r"extra_headers\['X-A'\] is a bytes"),
        ({"merge_headers": {ANN: {"X-A": "a\x7f"}}}, r"merge_headers.*: a header has one line"),
        ({"esp_extra": {"headers": {"X-A": "a\nb"}}}, r"esp_extra\['headers'\] must be"),
        ({"subject": "a\0b"}, "The subject has a line break or another control character"),
        ({"subject": "a\nb"}, "The subject has a line break or another control character"),
        ({"subject": b"a"}, "subject is a bytes"),
        ({"body": b"a"}, "body is a bytes"),
        ({"body": "\udcff"}, "body holds half of a surrogate pair"),
        ({"to": ANN}, '"to" must be a list'),
        ({"cc": {ANN: 1}}, '"cc" must be a list'),
        ({"tags": "abc"}, '"tags" must be a list'),
        ({"tags": b"abc"}, '"tags" must be a list'),
        ({"tags": ["a\0b"]}, "a tag that is not ASCII, has control characters"),
        ({"tags": [["a"]]}, "tags is a list"),
        ({"metadata": ["a"]}, '"metadata" must be a dict'),
        ({"metadata": {"a": float("nan")}}, r"metadata\['a'\] is nan"),
        ({"metadata": {"a": b"b"}}, r"metadata\['a'\] is a bytes"),
        ({"metadata": {"a": 10**5000}}, r"metadata\['a'\] has more than 640 digits"),
        ({"merge_data": {ANN: ["a"]}}, r"merge_data\['ann@example.com'\]\" must be a dict"),
        ({"merge_data": [ANN]}, '"merge_data" must be a dict'),
        ({"merge_global_data": {"a": CIRCLE}, "template_id": "d-1"}, "merge_global_data holds itself"),
        (
            {"merge_global_data": {"a": nested(100)}, "template_id": "d-1"},
            "merge_global_data .*nested deeper",
        ),
        ({"merge_global_data": {10**5000: 1}}, "merge_global_data has a key with more than 640 digits"),
        ({"template_id": ["d-1"]}, "template_id is a list"),
        ({"send_at": "tomorrow"}, "send_at is 'tomorrow'; it takes"),
        ({"send_at": 10**400}, "send_at is in no year"),
        ({"send_at": [10**5000]}, "send_at is a list"),
        ({"track_opens": "yes"}, "track_opens is 'yes'"),
        ({"esp_extra": [1]}, '"esp_extra" must be a dict'),
        ({"esp_extra": {"asm": float("inf")}}, r"esp_extra\['asm'\] is inf"),
        ({"esp_extra": {"asm": CIRCLE}}, "esp_extra holds itself"),
        (
            {"esp_extra": {"personalizations": [{"to": [{"email": "a" * 321}]}]}},
            r"esp_extra\[\"personalizations\"\]\[0\]\['to'\] must be",
        ),
        (
            {"esp_extra": {"personalizations": [{"to": [{"email": ""}]}]}},
            r"esp_extra\[\"personalizations\"\]\[0\]\['to'\] must be",
        ),
    ],
)
def test_a_value_that_cannot_be_sent_is_refused_by_send_and_named(
    backend: str, database: str, sendgrid: FakeSendGrid, attributes: dict[str, Any], says: str
) -> None:
    message = django_message()
    for name, value in attributes.items():  # not by the constructor, which refuses some itself
        setattr(message, {"headers": "extra_headers"}.get(name, name), value)
    # `message.send()` counts recipients first, and Django's TypeError for a text in `to` names no field.
    connection = connection_of()
    if backend == DIRECT:
        with pytest.raises(MailError, match=says) as caught:
            connection.send_messages([message])
    else:
        with transaction.atomic(using=database):
            with pytest.raises(MailError, match=says) as caught:
                connection.send_messages([message])
            assert OutboxMessage.objects.count() == 0  # the transaction can go on
    assert caught.value.email_message is message
    assert not sendgrid.requests


def test_the_longest_values_are_taken(arrived: Arrived) -> None:
    kind, content_id, filename = "a/" + "b" * 253, "c" * 255, "d" * 251 + ".png"
    attachment = Message()
    attachment["Content-Type"] = kind
    attachment["Content-ID"] = f"<{content_id}>"
    attachment.add_header("Content-Disposition", "inline", filename=f"e{filename}")
    attachment.set_payload("x")
    message = django_message(
        subject="s" * 1000,
        tags=["t" * 255],
        headers={"X-A": "h\t" * 1000},
        metadata={"number": 10**640 - 1},
        template_id="d-" + "1" * 1000,
        merge_global_data={"number": 10**640 - 1},
    )
    message.attachments = [attachment]
    message.send()
    (body,) = arrived()
    assert body["attachments"] == [
        {
            "content": "eA==",
            "filename": filename,
            "type": kind,
            "disposition": "inline",
            "content_id": content_id,
        }
    ]
    assert body["subject"] == "s" * 1000
    assert body["personalizations"][0]["dynamic_template_data"] == {"number": 10**640 - 1}
