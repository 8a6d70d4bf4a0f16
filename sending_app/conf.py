"""Settings of sending. `events_app.shared.setting` documents the places of a setting.

A setting with Anymail's name has Anymail's meaning.
"""

import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from django.conf import settings

from events_app.shared.setting import (
    Setting,
    days,
    days_from,
    flag,
    kind,
    non_empty_text,
    or_never,
    register,
    text,
    texts,
    whole,
)

#: Timeouts in seconds: to connect, to answer.
Timeout: TypeAlias = tuple[float, float]

#: Longest time to connect, even with a longer timeout for the answer.
MAX_CONNECT_TIMEOUT = 10.0

#: Leases and the time limits of tasks grow with the timeout.
MAX_TIMEOUT = 3600

#: The only alias without `MAILERS`.
DEFAULT_ALIAS = "default"

#: Characters of the name of a mailer or an account: size of the outbox's column.
MAX_NAME = 64

#: Options of a mailer or an account.
OPTIONS = (
    *("api_key", "api_url", "timeout", "generate_message_id", "merge_field_format", "send_defaults"),
    *("idna_encoder", "ignore_unsupported_features"),
)


# Characters of a URL that can stand between the < and > of a header.
_in_header = re.compile(r"[!-;=?-~]+")


@kind("text")
def _key(value: object) -> str | None:
    # A project gets "" from an environment without the variable.
    return None if value == "" else non_empty_text(value)


@kind("an http or https URL")
def _url(value: object) -> str:
    url = non_empty_text(value)
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # has a part of the URL, which may be of a password
        is_url = False
    if not is_url:
        raise ValueError("must be an http or https URL")
    return url if url.endswith("/") else f"{url}/"


@kind("an https URL without a query")
def _public_url(value: object) -> str:
    url = text(value)
    if not url:
        return ""
    parts = urlsplit(_url(url))
    if parts.query or parts.fragment or not _in_header.fullmatch(url):
        raise ValueError("must be a URL without a query, of ASCII characters")
    host = parts.hostname or ""
    is_here = host in ("localhost", "127.0.0.1", "::1") or host.endswith(".localhost")
    if parts.scheme == "http" and not is_here and not settings.DEBUG:
        raise ValueError("must be an https URL: mail programs post to no other (RFC 8058, 3.1)")
    return _url(url)


@kind(f"a number up to {MAX_TIMEOUT}, or a pair")
def _timeout(value: object) -> Timeout:
    pair = value if isinstance(value, list | tuple) else (value, value)
    numbers = [number for number in pair if isinstance(number, int | float) and not isinstance(number, bool)]
    if len(pair) != 2 or len(numbers) != 2 or not all(0 < number <= MAX_TIMEOUT for number in numbers):
        raise ValueError("must be a number of seconds, up to an hour, or a pair: to connect, to answer")
    connect, answer = map(float, numbers)
    return (connect if pair is value else min(connect, MAX_CONNECT_TIMEOUT)), answer


@kind("a dict of accounts")
def _accounts(value: object) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(value, Mapping) or not all(isinstance(options, Mapping) for options in value.values()):
        raise ValueError("must be a dict of accounts: {name: {option: value}}")
    for name in value:
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
            raise ValueError(f"the name {name!r} must be a string of 1 to {MAX_NAME} characters")
    if DEFAULT_ALIAS in value:
        raise ValueError(
            f"{DEFAULT_ALIAS!r} is the account of SENDGRID_API_KEY; give the other account another name"
        )
    return value


@kind("a dict of message attributes")
def _defaults(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError("must be a dict of message attributes")
    return value


@kind('`"idna2008"`, `"idna2003"`, `"uts46"`, `"none"`, a function, or its dotted path')
def _encoder(value: object) -> str | Callable[[str], str]:
    return value if callable(value) else non_empty_text(value)


@kind("text with `{}`")
def _field_format(value: object) -> str:
    field_format = non_empty_text(value)
    try:
        # Two names, because the format may contain the word "name".
        delimits = all(name in field_format.format(name) for name in ("name", "other"))
    except (ValueError, LookupError, AttributeError, TypeError):
        delimits = False
    if not delimits:
        raise ValueError('must have {} where the field\'s name goes, as in "-{}-"; double literal braces')
    return field_format


@kind("text, or a list")
def _encryption_keys(value: object) -> tuple[str, ...]:
    keys = tuple(key.strip() for key in texts(value))
    for number, key in enumerate(keys, 1):
        try:
            size = len(urlsafe_b64decode(key))
        except ValueError:  # would quote a part of the key
            size = 0
        if size != 32:
            raise ValueError(
                f"key {number} must be 32 bytes in URL-safe base64; make one with python -c "
                "'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
            )
    return keys


API_KEY = Setting[str | None](
    "SENDGRID_API_KEY",
    None,
    _key,
    bare=True,
    meaning='A key with the "Mail Send" permission. Without it `send()` raises.',
)
API_URL = Setting(
    "SENDGRID_API_URL",
    "https://api.sendgrid.com/v3/",
    _url,
    meaning="For accounts in the EU: `https://api.eu.sendgrid.com/v3/`. The slash at the end is optional.",
)
ACCOUNTS = Setting[Mapping[str, Mapping[str, Any]]](
    "SENDGRID_ACCOUNTS",
    {},
    _accounts,
    meaning='Further accounts by name: `{"news": {"api_key": "SG...."}}`. [Their '
    "options](#where-a-setting-is-looked-up), and [how to choose one](mail.md#set-it-up).",
)
GENERATE_MESSAGE_ID = Setting(
    "SENDGRID_GENERATE_MESSAGE_ID",
    True,
    flag,
    meaning="Whether our ids are sent as the custom argument `anymail_id`. [Without "
    "them](message-attributes.md#quirks-of-sendgrid) events change no status.",
)
MERGE_FIELD_FORMAT = Setting[str | None](
    "SENDGRID_MERGE_FIELD_FORMAT",
    None,
    _field_format,
    meaning='The form of a merge field in templates that are not dynamic, such as `"-{}-"`. None: as the '
    "names in `merge_data`. [More](message-attributes.md#templates).",
)
SEND_DEFAULTS = Setting[Mapping[str, Any]](
    "SEND_DEFAULTS",
    {},
    _defaults,
    meaning="Attributes for all messages. [More](mail.md#send-defaults).",
)
SENDGRID_SEND_DEFAULTS = Setting[Mapping[str, Any]](
    "SENDGRID_SEND_DEFAULTS",
    {},
    _defaults,
    meaning="Overrides `SEND_DEFAULTS`, name by name.",
)
IDNA_ENCODER = Setting[str | Callable[[str], str]](
    "IDNA_ENCODER",
    "idna2008",
    _encoder,
    meaning="The encoding of domains that are not ASCII.",
)
SENDGRID_IDNA_ENCODER = Setting[str | Callable[[str], str] | None](
    "SENDGRID_IDNA_ENCODER",
    None,
    _encoder,
    meaning="Overrides `IDNA_ENCODER`.",
)
REQUESTS_TIMEOUT = Setting[Timeout](
    "REQUESTS_TIMEOUT",
    (MAX_CONNECT_TIMEOUT, 30.0),
    _timeout,
    unit="seconds",
    meaning="The timeout. A pair has the time to connect and the time to answer. A number is both, and a "
    "connection gets at most 10 of it.",
)
IGNORE_UNSUPPORTED = Setting(
    "IGNORE_UNSUPPORTED_FEATURES",
    False,
    flag,
    meaning="Do not raise for [what SendGrid cannot do](message-attributes.md#what-sendgrid-cannot-do).",
)
SUPPRESSION = Setting(
    "SUPPRESSION",
    False,
    flag,
    meaning="`send()` and the workers leave [suppressed addresses](suppression.md) out.",
)
IGNORE_RECIPIENT_STATUS = Setting(
    "IGNORE_RECIPIENT_STATUS",
    False,
    flag,
    meaning="`send()` does not raise `RecipientsRefused` if [every recipient is "
    "suppressed](suppression.md#what-send-does).",
)
MAX_AGE = Setting(
    "SEND_MAX_AGE",
    24 * 3600,
    whole,
    unit="seconds",
    meaning="A mail that SendGrid has not accepted fails after this time, and a mail of unknown outcome "
    "is parked. Counts from `send_at`, if later.",
)
UNKNOWN_WAIT = Setting(
    "SEND_UNKNOWN_WAIT",
    600,
    whole,
    unit="seconds",
    meaning="The wait for the events of a mail [of unknown outcome](life-of-a-mail.md#unknown-outcomes), "
    "before a retry. Below 120 `check` warns: SendGrid collects events for 30 seconds and more.",
)
BULK_ABOVE = Setting(
    "SEND_BULK_ABOVE",
    100,
    whole,
    unit="recipients",
    meaning="A batch to more recipients in `to` uses the bulk lane.",
)
BODY_DAYS = Setting(
    "OUTBOX_BODY_DAYS",
    7,
    days,
    unit="days",
    meaning="The retention of a finished mail's content.",
)
RETENTION_DAYS = Setting[int | None](
    "OUTBOX_RETENTION_DAYS",
    180,
    or_never(days),
    unit="days",
    meaning="The retention of its other rows, recipients among them.",
)
ENCRYPTION_KEYS = Setting[tuple[str, ...]](
    "OUTBOX_ENCRYPTION_KEYS",
    (),
    _encryption_keys,
    meaning="Keys that encrypt the content of mails in the database. The first encrypts, every key "
    "decrypts. [More](personal-data.md#encryption).",
)
UNSUBSCRIBE_URL = Setting(
    "UNSUBSCRIBE_URL",
    "",
    _public_url,
    meaning="The public URL under which `urls.py` includes `sending_app.urls`, such as "
    "`https://mail.example.com/mail/`, for [links to unsubscribe](unsubscribe.md). Without it, a "
    "message with `unsubscribe_scope` raises.",
)
UNSUBSCRIBE_DAYS = Setting(
    "UNSUBSCRIBE_DAYS",
    365,
    days_from(30, "US law asks for 30 days (15 U.S.C. 7704 (a)(3)(A)(ii))"),
    unit="days",
    meaning="The time for which such a link works. US law asks for 30 days.",
)

SETTINGS = register(globals())
