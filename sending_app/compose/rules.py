"""What composing needs to know of the settings, and what it says to a message SendGrid has no words for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sending_app.signals import MailError


class UnsupportedFeature(MailError, ValueError):
    """The message asks for something SendGrid cannot do, or refuses."""


AnymailUnsupportedFeature = UnsupportedFeature


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    #: Makes a domain ASCII: see `address.encoder`.
    idna: Callable[[str], str]
    send_defaults: Mapping[str, Any] = field(default_factory=dict)
    merge_field_format: str | None = None
    generate_message_id: bool = True
    ignore_unsupported: bool = False

    def refuse(self, what: str) -> None:
        """Raise UnsupportedFeature; where such features are ignored, the caller goes on without this one."""
        if not self.ignore_unsupported:
            raise UnsupportedFeature(f"SendGrid does not support {what}")
