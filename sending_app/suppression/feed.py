"""Read suppressions from events: SendGrid suppresses an address for the same reasons.

A temporary refusal (`blocked`, `timed_out`, a deferral) and a refusal of the content suppress nobody.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias

from celery.exceptions import SoftTimeLimitExceeded
from django.db import InterfaceError, OperationalError, transaction

from events_app.shared import own_events
from events_app.shared.addresses import comparable
from events_app.shared.escaping import one_line
from events_app.shared.log import failures
from events_app.shared.personal_data.pseudonyms import PERSONAL_DATA_KEY, pseudonym
from events_app.signals import EventType, RejectReason, TrackingEvent
from sending_app.compose.extra import MAX_ADDRESS
from sending_app.mail import MOST_SCOPE
from sending_app.models import Suppression
from sending_app.outbox import using
from sending_app.suppression.record import Word, record_words
from sending_app.suppression.scopes import ALL_MAIL, group_scope

Reason = Suppression.Reason

_BOUNCES = {RejectReason.BOUNCED: Reason.BOUNCED, RejectReason.INVALID: Reason.INVALID}

#: The reasons of drops that hold for all mail.
_DROPS = {**_BOUNCES, RejectReason.SPAM: Reason.SPAM}

# A drop for the content of a mail, which also has the reject reason "spam" (Event Webhook Reference).
_CONTENT = "spam content"

#: Scope, reason, and whether the address is suppressed.
_Decision: TypeAlias = tuple[str, Reason, bool]


def apply_events(events: Sequence[TrackingEvent], received_at: Sequence[datetime], **_: Any) -> None:
    """Record what these events say about suppressions. A receiver of `events_app.signals.stored`.

    Raises OperationalError, InterfaceError and SoftTimeLimitExceeded: the events must wait too. Any other
    error is logged, and the events are stored.
    """
    try:
        words = [word for event, at in zip(events, received_at, strict=True) for word in words_of(event, at)]
        if words:
            with transaction.atomic(using=using()):
                record_words([*words, *_endings_for_erased(words)], using())
    except (OperationalError, InterfaceError, SoftTimeLimitExceeded):
        raise
    except Exception as error:  # noqa: BLE001 (the events must be stored)
        failures.report("The suppressions of %d events could not be recorded", len(events), error=error)


def _endings_for_erased(words: Sequence[Word]) -> list[Word]:
    """The words that end suppressions of erased persons who are customers again, under their pseudonyms."""
    endings = [word for word in words if not word.active]
    if not endings or not PERSONAL_DATA_KEY.get():
        return []
    hidden = [replace(word, address=pseudonym(word.address)) for word in endings]
    rows = Suppression.objects.using(using()).filter(address__in={word.address for word in hidden})
    known = {(row.address, row.scope, row.reason) for row in rows}
    return [word for word in hidden if word.key in known]


def words_of(event: TrackingEvent, received_at: datetime) -> Iterator[Word]:
    """The word of the event about a suppression, if any."""
    decide = _DECISIONS.get(event.event_type)
    decision = decide(event) if decide else None
    if decision is None:
        return
    # SendGrid tells of addresses that are none. Their text must not control a terminal.
    address = comparable(one_line(event.recipient or ""))
    if 0 < len(address) <= MAX_ADDRESS:
        scope, reason, active = decision
        yield Word(
            address=address,
            scope=scope,
            reason=reason,
            active=active,
            at=event.timestamp or received_at,
            source=Suppression.Source.EVENT,
            event_id=event.event_id or "",
        )


def _bounced(event: TrackingEvent) -> _Decision | None:
    reason = _BOUNCES.get(event.reject_reason) if event.reject_reason else None
    return (ALL_MAIL, reason, True) if reason else None


def _complained(_event: TrackingEvent) -> _Decision:
    return ALL_MAIL, Reason.SPAM, True


def _dropped(event: TrackingEvent) -> _Decision | None:
    raw = event.esp_event
    # A recipient that we left out is suppressed already, and the suppression may be over by now.
    if own_events.is_own(raw) or _word(raw, "reason") == _CONTENT or event.reject_reason is None:
        return None
    if event.reject_reason == RejectReason.UNSUBSCRIBED:
        # SendGrid does not tell whether the group or all mail is meant. The group is the smaller claim.
        return group_scope(raw.get("asm_group_id")) or ALL_MAIL, Reason.UNSUBSCRIBED, True
    reason = _DROPS.get(event.reject_reason)
    return (ALL_MAIL, reason, True) if reason else None


def _unsubscribed(event: TrackingEvent) -> _Decision | None:
    raw = event.esp_event
    is_for_all = _word(raw, "event") == "unsubscribe" and not own_events.is_own(raw)
    scope = ALL_MAIL if is_for_all else _stream_or_group(raw)
    return None if scope is None else (scope, Reason.UNSUBSCRIBED, True)


def _subscribed(event: TrackingEvent) -> _Decision | None:
    scope = _stream_or_group(event.esp_event)
    return (scope, Reason.UNSUBSCRIBED, False) if scope else None


def _stream_or_group(raw: Mapping[str, Any]) -> str | None:
    """The scope that the event names, if it is readable."""
    if not own_events.is_own(raw):
        return group_scope(raw.get("asm_group_id"))
    scope = raw.get(own_events.SCOPE, ALL_MAIL)
    return scope if isinstance(scope, str) and len(scope) <= MOST_SCOPE else None


def _word(raw: Mapping[str, Any], name: str) -> str:
    word = raw.get(name)
    return word.strip().lower() if isinstance(word, str) else ""


_DECISIONS: Mapping[EventType, Callable[[TrackingEvent], _Decision | None]] = {
    EventType.BOUNCED: _bounced,
    EventType.COMPLAINED: _complained,
    EventType.REJECTED: _dropped,
    EventType.UNSUBSCRIBED: _unsubscribed,
    EventType.SUBSCRIBED: _subscribed,
}
