"""The settings of sending: `events_app.shared.setting` says where each is looked up.

Those with Anymail's names mean what they mean there.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from events_app.shared.setting import Setting, flag, text, whole

#: Seconds to wait for a connection, and for the answer.
Timeout: TypeAlias = tuple[float, float]

#: Seconds to wait for a connection at the most, however long the answer may take.
MAX_CONNECT_TIMEOUT = 10.0

#: Leases and the time limits of tasks grow with it.
MAX_TIMEOUT = 3600


def _key(value: object) -> str | None:
    # What a project reads from an environment without one.
    return None if value == "" else text(value)


def _url(value: object) -> str:
    url = text(value)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http or https URL")
    return url if url.endswith("/") else f"{url}/"


def _timeout(value: object) -> Timeout:
    pair = value if isinstance(value, list | tuple) else (value, value)
    numbers = [one for one in pair if isinstance(one, int | float) and not isinstance(one, bool)]
    if len(pair) != 2 or len(numbers) != 2 or not all(0 < one <= MAX_TIMEOUT for one in numbers):
        raise ValueError("must be a number of seconds, up to an hour, or a pair: to connect, to answer")
    connect, answer = (float(one) for one in numbers)
    return (connect if pair is value else min(connect, MAX_CONNECT_TIMEOUT)), answer


def _defaults(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError("must be a dict of message attributes")
    return value


def _encoder(value: object) -> str | Callable[[str], str]:
    return value if callable(value) else text(value)


def _field_format(value: object) -> str:
    found = text(value)
    try:
        # Of two, as a format may hold the one word by itself.
        delimits = all(name in found.format(name) for name in ("name", "other"))
    except (ValueError, IndexError, KeyError):
        delimits = False
    if not delimits:
        raise ValueError('must have {} where the field\'s name goes, as in "-{}-"; double literal braces')
    return found


#: Needs the "Mail Send" permission.
API_KEY = Setting[str | None]("SENDGRID_API_KEY", None, _key, bare=True)
#: Another host for accounts in the EU: https://api.eu.sendgrid.com/v3/
API_URL = Setting("SENDGRID_API_URL", "https://api.sendgrid.com/v3/", _url)
GENERATE_MESSAGE_ID = Setting("SENDGRID_GENERATE_MESSAGE_ID", True, flag)
MERGE_FIELD_FORMAT = Setting[str | None]("SENDGRID_MERGE_FIELD_FORMAT", None, _field_format)
SEND_DEFAULTS = Setting[Mapping[str, Any]]("SEND_DEFAULTS", {}, _defaults)
#: What it has stands in the place of what SEND_DEFAULTS has under the same name.
SENDGRID_SEND_DEFAULTS = Setting[Mapping[str, Any]]("SENDGRID_SEND_DEFAULTS", {}, _defaults)
IDNA_ENCODER = Setting[str | Callable[[str], str]]("IDNA_ENCODER", "idna2008", _encoder)
SENDGRID_IDNA_ENCODER = Setting[str | Callable[[str], str] | None]("SENDGRID_IDNA_ENCODER", None, _encoder)
#: Seconds.
REQUESTS_TIMEOUT = Setting[Timeout]("REQUESTS_TIMEOUT", (MAX_CONNECT_TIMEOUT, 30.0), _timeout)
#: What SendGrid cannot do is left out in silence, and does not raise.
IGNORE_UNSUPPORTED = Setting("IGNORE_UNSUPPORTED_FEATURES", False, flag)
#: Seconds after which a mail that could not be handed to SendGrid is given up.
MAX_AGE = Setting("SEND_MAX_AGE", 24 * 3600, whole)
#: Seconds to wait for the events of a mail whose fate is unknown, before it may be sent again.
UNKNOWN_WAIT = Setting("SEND_UNKNOWN_WAIT", 600, whole)
#: Recipients above which a batch send is bulk, and leaves by a lane of its own.
BULK_ABOVE = Setting("SEND_BULK_ABOVE", 100, whole)
#: Days after which what a mail said is removed, once nothing of it is left to do.
BODY_DAYS = Setting("OUTBOX_BODY_DAYS", 7, whole)
#: Days after which the rest goes too; None: never.
RETENTION_DAYS = Setting[int | None]("OUTBOX_RETENTION_DAYS", None, whole)

SETTINGS: tuple[Setting[Any], ...] = (
    API_KEY,
    API_URL,
    GENERATE_MESSAGE_ID,
    MERGE_FIELD_FORMAT,
    SEND_DEFAULTS,
    SENDGRID_SEND_DEFAULTS,
    IDNA_ENCODER,
    SENDGRID_IDNA_ENCODER,
    REQUESTS_TIMEOUT,
    IGNORE_UNSUPPORTED,
    MAX_AGE,
    UNKNOWN_WAIT,
    BULK_ABOVE,
    BODY_DAYS,
    RETENTION_DAYS,
)
