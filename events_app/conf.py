"""The settings of what comes in: `events_app.shared.setting` says where each is looked up."""

from typing import Any

from events_app.shared.redis import REDIS_URL, STREAM
from events_app.shared.setting import Setting, flag, whole


def _texts(value: object) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
        raise ValueError("must be a string or a list of strings")
    return tuple(one for one in given if one.strip())


def _days(value: object) -> int:
    days = whole(value)
    if days < 2:
        raise ValueError(
            "must be at least 2: SendGrid repeats events for a day or more, and must find them here"
        )
    return days


def _inbound_days(value: object) -> int:
    days = whole(value)
    if days < 4:
        raise ValueError(
            "must be at least 4: SendGrid repeats a mail for three days, and its first post must be here"
        )
    return days


def _age(value: object) -> int | None:
    """Seconds; 0 means no limit."""
    return None if type(value) is int and value == 0 else whole(value)


def _dedupe(value: object) -> str:
    if value not in ("event_id", "content"):
        raise ValueError('must be "event_id" or "content"')
    return str(value)


def _watchdog(value: object) -> str:
    if value not in ("exit", "log", "off"):
        raise ValueError('must be "exit", "log" or "off"')
    return str(value)


#: Public keys of the signed Event Webhook, bare base64 or PEM; any one may match.
VERIFICATION_KEYS = Setting[tuple[str, ...]](
    "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY", (), _texts, bare=True
)
#: "user:password" pairs for basic auth; any one may match.
BASIC_AUTH = Setting[tuple[str, ...]]("WEBHOOK_SECRET", (), _texts)
#: Seconds a signature stays valid; 0: for ever. SendGrid retries for 24 hours. Nobody knows whether it signs
#: each retry anew, so a shorter window can turn an outage into lost events. The default has an hour to spare.
#: It is below the least retention of events, so a replayed post within it is a duplicate.
SIGNATURE_MAX_AGE = Setting[int | None]("SENDGRID_TRACKING_WEBHOOK_MAX_AGE", 25 * 3600, _age)
#: Bytes a post may have. SendGrid aims at 768 KB.
BODY_LIMIT = Setting("SENDGRID_TRACKING_WEBHOOK_BODY_LIMIT", 5 * 1024 * 1024, whole)
#: Public keys of Inbound Parse's security policies, bare base64 or PEM; any one may match.
INBOUND_KEYS = Setting[tuple[str, ...]]("SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY", (), _texts, bare=True)
#: The same for an inbound mail. SendGrid retries for 72 hours; the default has three hours to spare.
INBOUND_SIGNATURE_MAX_AGE = Setting[int | None]("SENDGRID_INBOUND_WEBHOOK_MAX_AGE", 75 * 3600, _age)
#: Bytes the post of an inbound mail may have. SendGrid takes mails of up to 30 MB.
INBOUND_LIMIT = Setting("SENDGRID_INBOUND_WEBHOOK_BODY_LIMIT", 32 * 1024 * 1024, whole)
#: Days after which inbound mails are removed, each as it was posted and what is known of it.
INBOUND_RETENTION_DAYS = Setting("INBOUND_RETENTION_DAYS", 30, _inbound_days)
#: For development only: take posts that nothing authenticates.
ALLOW_INSECURE = Setting("WEBHOOK_ALLOW_INSECURE", False, flag)

#: Events the stream may hold before posts are answered with 503 (SendGrid then keeps them).
BACKLOG_LIMIT = Setting("EVENT_BACKLOG_LIMIT", 1_000_000, whole)
#: "event_id": SendGrid's own id decides what is a duplicate. "content": everything but that id does.
DEDUPE_BY = Setting("DEDUPE_BY", "event_id", _dedupe)
#: Seconds a receiver may take with one event.
RECEIVER_TIME_LIMIT = Setting("RECEIVER_TIME_LIMIT", 30, whole)
#: How often a receiver is called with an event, failing each time, before the event is given up.
#: With the delays of RECEIVER_RETRY_DELAY's default, 15 take about a day.
RECEIVER_MAX_ATTEMPTS = Setting("RECEIVER_MAX_ATTEMPTS", 15, whole)
#: Seconds before a receiver that failed is called again; each further failure doubles them.
RECEIVER_RETRY_DELAY = Setting("RECEIVER_RETRY_DELAY", 30, whole)
#: A transaction an event: what receivers write and the mark that it is done commit together.
ATOMIC_DISPATCH = Setting("ATOMIC_DISPATCH", False, flag)
#: Days after which stored events are removed; None: never.
RETENTION_DAYS = Setting[int | None]("EVENT_RETENTION_DAYS", None, _days)
#: What a worker does that can do no work any more: "exit" for a supervisor to restart it, "log", or "off".
WORKER_WATCHDOG = Setting("WORKER_WATCHDOG", "log", _watchdog)

SETTINGS: tuple[Setting[Any], ...] = (
    VERIFICATION_KEYS,
    BASIC_AUTH,
    SIGNATURE_MAX_AGE,
    BODY_LIMIT,
    INBOUND_KEYS,
    INBOUND_SIGNATURE_MAX_AGE,
    INBOUND_LIMIT,
    INBOUND_RETENTION_DAYS,
    ALLOW_INSECURE,
    REDIS_URL,
    STREAM,
    BACKLOG_LIMIT,
    DEDUPE_BY,
    RECEIVER_TIME_LIMIT,
    RECEIVER_MAX_ATTEMPTS,
    RECEIVER_RETRY_DELAY,
    ATOMIC_DISPATCH,
    RETENTION_DAYS,
    WORKER_WATCHDOG,
)
