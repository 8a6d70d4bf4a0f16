"""Basic auth of a post, by the secrets of `WEBHOOK_SECRET`."""

import base64
import re
from collections.abc import Iterable

from django.utils.crypto import constant_time_compare

_control_characters = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check_secret(text: str) -> None:
    """Raise ValueError with the fault of a text that is not "user:password" in UTF-8."""
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise ValueError('must be "user:password"')
    if _control_characters.search(text):  # RFC 7617, 2
        raise ValueError("has a line end or another control character")
    try:
        text.encode()
    except UnicodeEncodeError:
        # Python puts surrogates in place of an environment's other bytes (os.environb).
        raise ValueError("is not UTF-8") from None


def is_authorized(authorization: str, secrets: Iterable[str]) -> bool:
    """Whether the Authorization header has one of the secrets, in UTF-8 (RFC 7617, 2.1)."""
    scheme, _, credentials = authorization.partition(" ")
    try:
        pair = base64.b64decode(credentials.strip(), validate=True)
    except ValueError:
        pair = b""  # no secret is empty
    # Compare with all secrets, so that the time of the answer does not tell which secret was nearly right.
    matches = [constant_time_compare(pair, secret) for secret in secrets]
    return scheme.lower() == "basic" and any(matches)
