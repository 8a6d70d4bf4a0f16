"""The settings of the webhooks. `events_app.shared.setting` has the places of a setting."""

from urllib.parse import urlsplit

from events_app.shared import eager, redis
from events_app.shared.log import failures
from events_app.shared.personal_data import pseudonyms
from events_app.shared.setting import (
    Setting,
    days_from,
    flag,
    kind,
    one_of,
    or_never,
    register,
    text,
    texts,
    whole,
    whole_or_unlimited,
)


@kind("a URL that begins with `https://`")
def _key_set_url(value: object) -> str:
    """A URL that nobody on the way can answer: a false key set would open the webhooks."""
    url = text(value)
    try:
        parts = urlsplit(url)
        is_safe = parts.scheme == "https" or parts.hostname in ("127.0.0.1", "localhost", "::1")
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_safe = is_web = False
    if url and not (is_safe and is_web):
        raise ValueError("must be a URL that begins with https://")
    return url


VERIFICATION_KEYS = Setting[tuple[str, ...]](
    "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY",
    (),
    texts,
    bare=True,
    meaning="Public key of SendGrid's signed Event Webhook, as SendGrid shows it or as PEM. A post must "
    "be signed with one of the keys.",
)
BASIC_AUTH = Setting[tuple[str, ...]](
    "WEBHOOK_SECRET",
    (),
    texts,
    meaning="`user:password` for basic auth. A post must have one of the pairs. [Which "
    "characters](#the-password-of-the-webhooks).",
)
OAUTH_CLIENTS = Setting[tuple[str, ...]](
    "WEBHOOK_OAUTH_CLIENTS",
    (),
    texts,
    meaning="`id:secret` for OAuth 2.0. SendGrid gets tokens with one of the pairs, and a post must have "
    "a token. [OAuth](#oauth-of-the-webhooks).",
)
OAUTH_ISSUER = Setting(
    "WEBHOOK_OAUTH_ISSUER",
    "",
    text,
    meaning="The issuer of OAuth tokens of another server, exactly as in their claim `iss`.",
)
OAUTH_JWKS_URL = Setting(
    "WEBHOOK_OAUTH_JWKS_URL",
    "",
    _key_set_url,
    meaning="Where this issuer publishes its keys.",
)
OAUTH_AUDIENCE = Setting[tuple[str, ...]](
    "WEBHOOK_OAUTH_AUDIENCE",
    (),
    texts,
    meaning="The audience of the issuer's tokens, as in their claim `aud`. Of several, one is enough.",
)
OAUTH_SCOPES = Setting[tuple[str, ...]](
    "WEBHOOK_OAUTH_SCOPES",
    (),
    texts,
    meaning="The scopes that each of these tokens must have.",
)
# Below the minimum retention of events, so an attacker who posts an old body again creates only duplicates.
SIGNATURE_MAX_AGE = Setting[int | None](
    "SENDGRID_TRACKING_WEBHOOK_MAX_AGE",
    25 * 3600,
    whole_or_unlimited,
    unit="seconds",
    meaning="The maximum age of a signature. [Why 25 hours](#how-old-a-signature-may-be).",
)
# SendGrid aims at 768 KB.
BODY_LIMIT = Setting(
    "SENDGRID_TRACKING_WEBHOOK_BODY_LIMIT",
    5 * 1024 * 1024,
    whole,
    unit="bytes",
    meaning="The largest post. A larger post gets 413. If you raise this, raise the proxy's "
    "[limit](deploy.md#behind-a-proxy) too.",
)
INBOUND_KEYS = Setting[tuple[str, ...]](
    "SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY",
    (),
    texts,
    bare=True,
    meaning="Public key of a security policy for Inbound Parse, as SendGrid shows it or as PEM. The post "
    "of a mail must be signed with one of the keys.",
)
INBOUND_SIGNATURE_MAX_AGE = Setting[int | None](
    "SENDGRID_INBOUND_WEBHOOK_MAX_AGE",
    75 * 3600,
    whole_or_unlimited,
    unit="seconds",
    meaning="The maximum age of the signature of a mail. [Why 75 hours](#how-old-a-signature-may-be).",
)
INBOUND_LIMIT = Setting(
    "SENDGRID_INBOUND_WEBHOOK_BODY_LIMIT",
    32 * 1024 * 1024,
    whole,
    unit="bytes",
    meaning="The largest post of a mail. A larger post gets 503. SendGrid accepts mails of up to 30 MB. "
    "If you raise this, raise the proxy's [limit](deploy.md#behind-a-proxy) too.",
)
INBOUND_RETENTION_DAYS = Setting(
    "INBOUND_RETENTION_DAYS",
    30,
    days_from(4, "SendGrid repeats a mail for three days, and its first post must be here"),
    unit="days",
    meaning="The retention of inbound mails.",
)
ALLOW_INSECURE = Setting(
    "WEBHOOK_ALLOW_INSECURE",
    False,
    flag,
    meaning="Without a key, a secret and OAuth, accept posts from anyone. For development.",
)

BACKLOG_LIMIT = Setting(
    "EVENT_BACKLOG_LIMIT",
    1_000_000,
    whole,
    unit="events",
    meaning="Events that may wait in Redis. A post beyond this limit gets 503, and SendGrid retries.",
)
DEDUPE_BY = Setting(
    "DEDUPE_BY",
    "event_id",
    one_of("event_id", "content"),
    meaning='How duplicates are found: by SendGrid\'s id, or with `"content"` by everything except the id. '
    "[More](events.md#duplicates).",
)
RECEIVER_TIME_LIMIT = Setting(
    "RECEIVER_TIME_LIMIT",
    30,
    whole,
    unit="seconds",
    meaning="The time of a receiver for an event. Celery's time limits and the leases depend on it.",
)
RECEIVER_MAX_ATTEMPTS = Setting(
    "RECEIVER_MAX_ATTEMPTS",
    15,
    whole,
    unit="attempts",
    meaning="Failed attempts of a receiver before the event is a dead letter. 15 attempts take about a day.",
)
RECEIVER_RETRY_DELAY = Setting(
    "RECEIVER_RETRY_DELAY",
    30,
    whole,
    unit="seconds",
    meaning="The backoff before the first retry of a failed receiver. Each failure doubles it, up to 4 "
    "hours, with a jitter of a quarter.",
)
ATOMIC_DISPATCH = Setting(
    "ATOMIC_DISPATCH",
    False,
    flag,
    meaning="One transaction per event: receivers' writes commit together with the end of the delivery. "
    "[More](deploy.md#exactly-once).",
)
RETENTION_DAYS = Setting[int | None](
    "EVENT_RETENTION_DAYS",
    180,
    or_never(days_from(2, "SendGrid repeats events for a day or more, and must find them here")),
    unit="days",
    meaning="The retention of stored events. [More](deploy.md#how-long-events-are-kept).",
)
STORE_IP_ADDRESSES = Setting(
    "STORE_IP_ADDRESSES",
    True,
    flag,
    meaning="Whether stored events have the IP addresses in SendGrid's events: of persons who open and "
    "click, and of mail servers. `False`: receivers get none either.",
)
STORE_USER_AGENTS = Setting(
    "STORE_USER_AGENTS",
    True,
    flag,
    meaning="Whether stored events have the user agents: the mail programs and browsers of persons. "
    "`False`: receivers get none either.",
)
METRICS_TOKEN = Setting(
    "METRICS_TOKEN",
    "",
    text,
    meaning="The bearer token of [`/metrics`](monitoring.md#metrics), at least 16 characters. Without one "
    "the URL answers 403.",
)
WORKER_WATCHDOG = Setting(
    "WORKER_WATCHDOG",
    "log",
    one_of("exit", "log", "off"),
    meaning='What a stuck worker does: `"exit"` ends the worker, so that a supervisor restarts it; '
    '`"log"` logs an error each minute; `"off"` turns the watchdog off. '
    "[More](deploy.md#a-worker-that-is-stuck).",
)

SETTINGS = register({**globals(), **vars(redis), **vars(eager), **vars(failures), **vars(pseudonyms)})
