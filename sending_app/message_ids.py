"""The ids of personalizations: `message_id` in `anymail_status`, and in SendGrid's events."""

import secrets
import time
import uuid


def new_message_id() -> str:
    """An id that nobody can guess. Ids of mails of one time are neighbours in an index."""
    return str(time_ordered(time.time_ns() // 10**6, secrets.randbits(74)))


def time_ordered(milliseconds: int, random_bits: int) -> uuid.UUID:
    """A UUID of version 7, of the milliseconds since 1970 and 74 random bits. Source: RFC 9562, 5.7.

    Not `uuid.uuid7` of Python 3.14, which puts a counter in the place of 42 random bits.
    """
    version_and_high = 0x7 << 12 | random_bits >> 62
    variant_and_low = 0b10 << 62 | random_bits & (1 << 62) - 1
    return uuid.UUID(int=milliseconds << 80 | version_and_high << 64 | variant_and_low)
