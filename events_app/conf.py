"""The settings: what each is called, where it is looked up, what it may hold.

They live in the `ANYMAIL` dict under Anymail's names, so that its users keep theirs. A name N is
looked up in this order: an argument of the view, `ANYMAIL["N"]`, `ANYMAIL_N`, plain `N` where
Anymail allows that, the default. Settings are read when used, so tests can override them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from redis.connection import parse_url

T = TypeVar("T")


@dataclass(frozen=True)
class Setting(Generic[T]):
    """One setting. `read` turns what was found into its value, or raises ValueError saying why not."""

    name: str
    default: T
    read: Callable[[object], T]
    bare: bool = False

    def get(self, argument: object = None) -> T:
        """The value in force.

        Raises ImproperlyConfigured, naming the place the bad value came from.
        """
        for place, value in self._places(argument):
            if value is not None:
                try:
                    return self.read(value)
                except ValueError as error:
                    raise ImproperlyConfigured(f"{place}: {error}") from None
        return self.default

    def _places(self, argument: object) -> Iterable[tuple[str, object]]:
        yield f"the view's argument for {self.name}", argument
        yield f"ANYMAIL[{self.name!r}]", getattr(settings, "ANYMAIL", {}).get(self.name)
        yield f"ANYMAIL_{self.name}", getattr(settings, f"ANYMAIL_{self.name}", None)
        if self.bare:
            yield self.name, getattr(settings, self.name, None)


def _texts(value: object) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
        raise ValueError("must be a string or a list of strings")
    return tuple(one for one in given if one.strip())


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a string that is not empty")
    return value


def _redis_url(value: object) -> str:
    url = _text(value)
    parse_url(url)  # type: ignore[no-untyped-call]
    return url


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("must be a whole number of at least 1")
    return value


def _days(value: object) -> int:
    days = _whole(value)
    if days < 2:
        raise ValueError(
            "must be at least 2: SendGrid repeats events for a day or more, and must find them here"
        )
    return days


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be True or False")
    return value


def _dedupe(value: object) -> str:
    if value not in ("event_id", "content"):
        raise ValueError('must be "event_id" or "content"')
    return str(value)


#: Public keys of the signed Event Webhook, bare base64 or PEM; any one may match.
VERIFICATION_KEYS = Setting[tuple[str, ...]](
    "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY", (), _texts, bare=True
)
#: "user:password" pairs for basic auth; any one may match.
BASIC_AUTH = Setting[tuple[str, ...]]("WEBHOOK_SECRET", (), _texts)
#: Seconds a signature stays good; None: for ever. SendGrid retries for 24 hours and nobody knows
#: whether it signs again, so a short window can turn an outage into lost events.
SIGNATURE_MAX_AGE = Setting[int | None]("SENDGRID_TRACKING_WEBHOOK_MAX_AGE", None, _whole)
#: Bytes a post may have. SendGrid aims at 768 KB.
BODY_LIMIT = Setting("SENDGRID_TRACKING_WEBHOOK_BODY_LIMIT", 5 * 1024 * 1024, _whole)
#: For development only: take posts that nothing authenticates.
ALLOW_INSECURE = Setting("WEBHOOK_ALLOW_INSECURE", False, _flag)
#: The Redis (or Valkey) that keeps raw events until they are stored.
REDIS_URL = Setting("EVENT_REDIS_URL", "redis://127.0.0.1:6379/0", _redis_url)
#: The stream's key. Give each deployment that shares a Redis database its own.
STREAM = Setting("EVENT_STREAM", "sendgrid:events", _text)
#: Events the stream may hold before posts are answered with 503 (SendGrid then keeps them).
BACKLOG_LIMIT = Setting("EVENT_BACKLOG_LIMIT", 1_000_000, _whole)
#: "event_id": SendGrid's own id decides what is a repeat. "content": everything but that id does.
DEDUPE_BY = Setting("DEDUPE_BY", "event_id", _dedupe)
#: Seconds a receiver may take with one event.
RECEIVER_TIME_LIMIT = Setting("RECEIVER_TIME_LIMIT", 30, _whole)
#: How often a receiver is called with an event, failing each time, before the event is given up.
#: With the delays of RECEIVER_RETRY_DELAY's default, 15 take about a day.
RECEIVER_MAX_ATTEMPTS = Setting("RECEIVER_MAX_ATTEMPTS", 15, _whole)
#: Seconds before a receiver that failed is called again; each further failure doubles them.
RECEIVER_RETRY_DELAY = Setting("RECEIVER_RETRY_DELAY", 30, _whole)
#: A transaction an event: what receivers write and the mark that it is done commit together.
ATOMIC_DISPATCH = Setting("ATOMIC_DISPATCH", False, _flag)
#: Days after which stored events are removed; None: never.
RETENTION_DAYS = Setting[int | None]("EVENT_RETENTION_DAYS", None, _days)

SETTINGS: tuple[Setting[Any], ...] = (
    VERIFICATION_KEYS,
    BASIC_AUTH,
    SIGNATURE_MAX_AGE,
    BODY_LIMIT,
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
)
