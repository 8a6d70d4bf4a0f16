"""The settings of the webhooks. `events_app.shared.setting` has the places of a setting."""

from urllib.parse import urlsplit

from events_app.shared import eager, redis
from events_app.shared.log import failures
from events_app.shared.personal_data import pseudonyms
from events_app.shared.setting import (
    Setting,
    days_from,
    flag,
    one_of,
    or_never,
    register,
    text,
    texts,
    whole,
    whole_or_unlimited,
)


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


#: Public keys of the signed Event Webhook, bare base64 or PEM. A post must match one key.
VERIFICATION_KEYS = Setting[tuple[str, ...]](
    "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY", (), texts, bare=True
)
#: "user:password" pairs for basic auth. A post must match one pair.
BASIC_AUTH = Setting[tuple[str, ...]]("WEBHOOK_SECRET", (), texts)
#: "id:secret" pairs of OAuth clients, to which the token view gives tokens. A post must have such a token.
OAUTH_CLIENTS = Setting[tuple[str, ...]]("WEBHOOK_OAUTH_CLIENTS", (), texts)
#: The issuer of tokens of another server, as in their claim `iss`. Its tokens are JWTs.
OAUTH_ISSUER = Setting("WEBHOOK_OAUTH_ISSUER", "", text)
#: Where the issuer publishes its keys, a JSON Web Key Set.
OAUTH_JWKS_URL = Setting("WEBHOOK_OAUTH_JWKS_URL", "", _key_set_url)
#: A token of the issuer must be for one of these audiences, and have all of these scopes.
OAUTH_AUDIENCE = Setting[tuple[str, ...]]("WEBHOOK_OAUTH_AUDIENCE", (), texts)
OAUTH_SCOPES = Setting[tuple[str, ...]]("WEBHOOK_OAUTH_SCOPES", (), texts)
#: Seconds a signature stays valid; 0: for ever. SendGrid retries for 24 hours and may not sign each retry
#: anew, so a shorter time can turn an outage into lost events. The default has an hour to spare. The default
#: is also below the minimum retention of events, so an attacker who posts an old body again creates only
#: duplicates.
SIGNATURE_MAX_AGE = Setting[int | None]("SENDGRID_TRACKING_WEBHOOK_MAX_AGE", 25 * 3600, whole_or_unlimited)
#: Bytes that a post of events may have. SendGrid aims at 768 KB.
BODY_LIMIT = Setting("SENDGRID_TRACKING_WEBHOOK_BODY_LIMIT", 5 * 1024 * 1024, whole)
#: Public keys of Inbound Parse's security policies, bare base64 or PEM. A post must match one key.
INBOUND_KEYS = Setting[tuple[str, ...]]("SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY", (), texts, bare=True)
#: Seconds a signature of an inbound mail stays valid; 0: for ever. SendGrid retries for 72 hours; the default
#: has three hours to spare.
INBOUND_SIGNATURE_MAX_AGE = Setting[int | None](
    "SENDGRID_INBOUND_WEBHOOK_MAX_AGE", 75 * 3600, whole_or_unlimited
)
#: Bytes that the post of an inbound mail may have. SendGrid accepts mails of up to 30 MB.
INBOUND_LIMIT = Setting("SENDGRID_INBOUND_WEBHOOK_BODY_LIMIT", 32 * 1024 * 1024, whole)
#: Days after which inbound mails are removed, both the file and the row.
INBOUND_RETENTION_DAYS = Setting(
    "INBOUND_RETENTION_DAYS",
    30,
    days_from(4, "SendGrid repeats a mail for three days, and its first post must be here"),
)
#: For development only: accept posts without authentication.
ALLOW_INSECURE = Setting("WEBHOOK_ALLOW_INSECURE", False, flag)

#: Events that the stream may hold. Beyond this limit a post gets 503, and SendGrid retries.
BACKLOG_LIMIT = Setting("EVENT_BACKLOG_LIMIT", 1_000_000, whole)
#: "event_id": events with the same id of SendGrid are duplicates. "content": events that differ only in the
#: id.
DEDUPE_BY = Setting("DEDUPE_BY", "event_id", one_of("event_id", "content"))
#: Seconds that a receiver may take for an event.
RECEIVER_TIME_LIMIT = Setting("RECEIVER_TIME_LIMIT", 30, whole)
#: Failed attempts of a receiver after which the event becomes a dead letter. With the default of
#: RECEIVER_RETRY_DELAY, 15 attempts take about a day.
RECEIVER_MAX_ATTEMPTS = Setting("RECEIVER_MAX_ATTEMPTS", 15, whole)
#: Seconds before the first retry of a failed receiver. The backoff doubles after each failure.
RECEIVER_RETRY_DELAY = Setting("RECEIVER_RETRY_DELAY", 30, whole)
#: A transaction per event: the receivers' writes commit together with the end of the delivery.
ATOMIC_DISPATCH = Setting("ATOMIC_DISPATCH", False, flag)
#: Days after which stored events are removed; 0: never.
RETENTION_DAYS = Setting[int | None](
    "EVENT_RETENTION_DAYS",
    180,
    or_never(days_from(2, "SendGrid repeats events for a day or more, and must find them here")),
)
#: Whether stored events, and the events that receivers get, have the IP addresses and the user agents that
#: SendGrid posts.
STORE_IP_ADDRESSES = Setting("STORE_IP_ADDRESSES", True, flag)
STORE_USER_AGENTS = Setting("STORE_USER_AGENTS", True, flag)
#: The bearer token of `/metrics`; empty: no one can read it.
METRICS_TOKEN = Setting("METRICS_TOKEN", "", text)
#: What a stuck worker does: "exit", so that a supervisor restarts the worker, "log", or "off".
WORKER_WATCHDOG = Setting("WORKER_WATCHDOG", "log", one_of("exit", "log", "off"))

SETTINGS = register({**vars(redis), **vars(eager), **vars(failures), **vars(pseudonyms), **globals()})
