"""The place for a mail's id in an address of `reply_to`: what it asks of the mail."""

import uuid
from collections.abc import Sequence

from sending_app.compose.address import InvalidAddress
from sending_app.compose.rules import UnsupportedFeature
from sending_app.mail import Common, Envelope
from sending_app.reply_to import LONGEST_LOCAL, MARKER, filled


def check(common: Common, envelopes: Sequence[Envelope]) -> None:
    """Raise UnsupportedFeature for a mail without an id, or with several, that has such a place.

    Raises InvalidAddress where the id is too long for it.
    """
    marked = [one for one in common.body.get("reply_to_list", []) if MARKER in one["email"]]
    if not marked:
        return
    if not common.tracked:
        raise UnsupportedFeature(
            f"reply_to has {MARKER}, and SENDGRID_GENERATE_MESSAGE_ID is off: this mail has no id. "
            "Set it to True, or take the place out"
        )
    if len(envelopes) > 1:
        raise UnsupportedFeature(
            f"reply_to has {MARKER}, and this mail has {len(envelopes)} ids: one for each recipient of a "
            "batch (merge_data, merge_metadata, merge_headers), or for each of esp_extra's personalizations. "
            "SendGrid takes one reply_to for all of them. Send each a message of their own; or take the "
            "place out: an answer names the mail in In-Reply-To as well"
        )
    if any(_is_too_long(one["email"]) for one in filled(marked, str(uuid.UUID(int=0)))):
        raise InvalidAddress(
            f"An address in reply_to is too long with an id for {MARKER}: there may be {LONGEST_LOCAL} "
            "characters before its @, and the id has 32"
        )


def _is_too_long(address: str) -> bool:
    return len(address.rpartition("@")[0].encode()) > LONGEST_LOCAL
