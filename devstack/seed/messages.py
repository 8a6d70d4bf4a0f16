"""The messages of the shop: subject, text, tags, metadata and files."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from sending_app.mail import MARKER, SharedContent

SENDER = {"email": "shop@shop.example", "name": "The shop"}
REPLY_TO = f"reply+{MARKER}@reply.shop.example"

#: A small PDF that programs open.
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\
 3 0 obj<</Type/Page/MediaBox[0 0 300 144]/Parent 2 0 R>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


@dataclass(frozen=True, slots=True)
class Message:
    """The content that all recipients share."""

    subject: str
    text: str
    tags: tuple[str, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    #: The name of an attached PDF.
    attachment: str = ""

    def labels(self) -> list[tuple[str, str]]:
        """Names and values of `MessageLabel`: tags have no name."""
        return [*(("", tag) for tag in self.tags), *self.metadata.items()]

    def content(self) -> bytes:
        """The content as the outbox keeps it."""
        html = "".join(f"<p>{line}</p>" for line in self.text.split("\n"))
        body: dict[str, Any] = {
            "from": SENDER,
            "reply_to_list": [{"email": REPLY_TO}],
            "subject": self.subject,
            "content": [
                {"type": "text/plain", "value": self.text},
                {"type": "text/html", "value": f'<h1 style="color: #264b5d">{self.subject}</h1>{html}'},
            ],
            "categories": list(self.tags),
        }
        if self.metadata:
            body["custom_args"] = dict(self.metadata)
        return msgspec.json.encode(SharedContent(body=body, field_format="-{}-"))


def invoice(number: int) -> Message:
    return Message(
        f"Your invoice {number}",
        "Thank you for your order.\nYour invoice is attached.",
        ("invoice",),
        {"order": str(number), "app": "billing"},
        f"invoice-{number}.pdf",
    )


def shipped(number: int) -> Message:
    return Message(
        f"Your order {number} has been shipped",
        "Your parcel is on the way.\nIt arrives within three days.",
        ("shipping", "order"),
        {"order": str(number)},
    )


def welcome(number: int) -> Message:
    return Message("Welcome to the shop", "Good to have you here.", ("welcome",), {"user": str(number)})


def password_reset(number: int) -> Message:
    text = "Somebody asked for a new password.\nThe link in this mail works for an hour."
    return Message("Set a new password", text, ("account",), {"user": str(number)})


def reminder(number: int) -> Message:
    return Message(
        "You left something in your basket",
        "Your basket waits for you for three more days.",
        ("basket", "marketing"),
        {"basket": str(number)},
    )


_TO_ONE = {shipped: 40, invoice: 25, password_reset: 15, reminder: 12, welcome: 8}
_MAKERS, _WEIGHTS = list(_TO_ONE), list(_TO_ONE.values())

_OFFERS = (
    "Spring sale: 20 % off",
    "News of the week",
    "New shoes for rainy days",
    "The last days of the sale",
)


def to_one(rng: random.Random) -> Message:
    """A message to one customer."""
    (make,) = rng.choices(_MAKERS, _WEIGHTS)
    return make(rng.randrange(100_000, 1_000_000))


def to_many(rng: random.Random) -> Message:
    """A message to many customers, each with a mail of its own."""
    subject = rng.choice(_OFFERS)
    campaign = f"{subject.split()[0].lower()}-{rng.randrange(1, 53)}"
    text = "Dear -name-,\nhere are our offers.\nYou get this mail as a customer of the shop."
    return Message(subject, text, ("newsletter", "marketing"), {"campaign": campaign})
