"""An inbound mail as receivers get it."""

from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage

from django.core.files.uploadedfile import SimpleUploadedFile


class InboundMessage(EmailMessage):
    """A mail, or a part of one.

    The names and attributes are those of django-anymail's normalized inbound message, so that
    receivers written for it run here unchanged.
    """

    #: The sender by the envelope; "" for delivery reports, None where SendGrid told none.
    envelope_sender: str | None = None
    spam_detected: bool | None = None
    spam_score: float | None = None
    #: What SendGrid found, such as "pass".
    spf: str | None = None
    #: The address that handed SendGrid the mail.
    sender_ip: str | None = None

    envelope_recipients: list[str]
    #: What SendGrid found for each signing domain, such as "pass".
    dkim: dict[str, str]

    @property
    def envelope_recipient(self) -> str | None:
        raise NotImplementedError

    @property
    def from_email(self) -> Address | None:
        raise NotImplementedError

    @property
    def to(self) -> list[Address]:
        raise NotImplementedError

    @property
    def cc(self) -> list[Address]:
        raise NotImplementedError

    @property
    def bcc(self) -> list[Address]:
        raise NotImplementedError

    @property
    def subject(self) -> str | None:
        raise NotImplementedError

    @property
    def date(self) -> datetime | None:
        raise NotImplementedError

    @property
    def message_id(self) -> str | None:
        raise NotImplementedError

    @property
    def in_reply_to(self) -> list[str]:
        raise NotImplementedError

    @property
    def references(self) -> list[str]:
        raise NotImplementedError

    @property
    def text(self) -> str | None:
        raise NotImplementedError

    @property
    def html(self) -> str | None:
        raise NotImplementedError

    @property
    def stripped_text(self) -> str | None:
        raise NotImplementedError

    @property
    def stripped_html(self) -> str | None:
        raise NotImplementedError

    @property
    def attachments(self) -> list["InboundMessage"]:
        raise NotImplementedError

    @property
    def inlines(self) -> list["InboundMessage"]:
        raise NotImplementedError

    @property
    def content_id_map(self) -> dict[str, "InboundMessage"]:
        raise NotImplementedError

    @property
    def inline_attachments(self) -> dict[str, "InboundMessage"]:
        raise NotImplementedError

    @property
    def content_id(self) -> str | None:
        raise NotImplementedError

    def is_inline(self) -> bool:
        raise NotImplementedError

    def get_content_bytes(self) -> bytes:
        raise NotImplementedError

    def get_content_text(self, charset: str | None = None, errors: str | None = None) -> str:
        raise NotImplementedError

    def as_uploaded_file(self) -> SimpleUploadedFile:
        raise NotImplementedError
