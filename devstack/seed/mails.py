"""Writes mails with their recipients, and the events of the recipients."""

import random
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from devstack.seed.customers import Customer
from devstack.seed.journeys import Journey, Progress, Taken, travel
from devstack.seed.messages import PDF, Message
from devstack.seed.table import Table, timestamp
from events_app.decode import dedupe_key
from events_app.models import Event
from events_app.shared.hourly import Counts
from events_app.signals import MESSAGE_ID_ARG
from sending_app.hourly_counts import BOUNDS, LONGER
from sending_app.mail import Personalization
from sending_app.message_ids import time_ordered
from sending_app.models import FINAL, LATENCY, Attachment, Mail, MessageLabel, OutboxMessage, Recipient

DAY = 86_400

#: Days for which the outbox keeps content, by default.
BODY_DAYS = 7

State = Mail.State

#: The recipients of mails that did not leave.
_UNSENT = {
    State.FAILED: Progress("failed", 1),
    State.CANCELLED: Progress("failed", 1),
    State.REJECTED: Progress("rejected", 5, reject_reason="bounced"),
}


@dataclass(frozen=True, slots=True)
class Letter:
    """A personalization: a customer, copies to others, and the way of all."""

    to: Customer
    journey: Journey
    cc: Sequence[Customer] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A mail, and what became of the mail."""

    message: Message
    letters: Sequence[Letter]
    #: When the project sent the mail.
    at: float
    state: Mail.State = State.ACCEPTED
    error: str = ""
    #: Entries of the log, one second apart.
    log: Sequence[str] = ()
    attempts: int = 1
    sent_twice: bool = False
    #: Seconds from now until a worker looks at the mail again.
    due_in: float = 0
    send_at: float | None = None


class Sent(NamedTuple):
    """An accepted mail to a customer, for replies."""

    message_id: UUID
    to: Customer
    subject: str
    at: float


@dataclass
class MailWriter:
    """Collects rows of mails and events; `write_until` inserts the rows."""

    rng: random.Random
    using: str
    #: Unix time.
    now: float
    #: The account of the mails (`account.Account.fingerprint`).
    account: str
    alias: str
    #: Rows of events by the day when the webhook received the events, each after its time.
    _events_by_day: defaultdict[int, list[tuple[float, tuple[Any, ...]]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def __post_init__(self) -> None:
        self.messages = Table(OutboxMessage, self.using, ("id", "created_at", "alias", "subject", "content"))
        self.labels = Table(MessageLabel, self.using, ("id", "message_id", "name", "value"))
        self.attachments = Table(Attachment, self.using, ("id", "message_id", "filename", "type", "content"))
        self.mails = Table(
            Mail,
            self.using,
            (
                *("id", "message_id", "state", "lane", "alias", "created_at", "send_at", "due"),
                *("attempt_token", "attempts", "unknown_outcomes", "unknown_attempts", "attempted_at"),
                *("unknown_since", "account", "accepted_at", "first_event_at", "finished_at"),
                *("x_message_id", "sent_twice", "error", "log", "recipient_count", "personalizations"),
            ),
        )
        self.recipients = Table(
            Recipient, self.using, ("id", "mail_id", "message_id", "address", "kind", *Progress._fields)
        )
        self.events = Table(
            Event,
            self.using,
            (
                *("id", "key", "event_type", "event_id", "message_id", "recipient", "timestamp"),
                *("received_at", "webhook", "raw"),
            ),
        )
        #: The number of events so far, also of events that are not yet in the table.
        self.event_count = 0
        #: For the chart of latencies, as `hourly_counts.record_latencies` counts.
        self.latencies: Counts = Counter()
        #: Accepted mails to one customer.
        self.sent: list[Sent] = []

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables in the order of their foreign keys."""
        return self.messages, self.labels, self.attachments, self.mails, self.recipients, self.events

    def add(self, plan: Plan) -> None:
        """Add a mail with its recipients, and the events that the webhook has received by now."""
        rng, state = self.rng, plan.state
        message_pk, mail_pk = self.messages.next_id(), self.mails.next_id()
        is_posted = state in (State.ACCEPTED, State.UNKNOWN, State.PARKED, State.FAILED)
        attempted_at = plan.at + 0.1 + rng.random() if is_posted else None
        accepted_at = attempted_at + 0.05 + 0.3 * rng.random() if attempted_at else plan.at
        x_message_id = random_id(rng) if state == State.ACCEPTED else ""
        first_event_at: float | None = None
        personalizations = []
        count = 0
        for index, letter in enumerate(plan.letters):
            message_id = time_ordered(int(plan.at * 1000), rng.getrandbits(74))
            for customer, kind in ((letter.to, "to"), *((copied, "cc") for copied in letter.cc)):
                count += 1
                progress = _UNSENT.get(state, Progress())
                if state == State.ACCEPTED:
                    taken, progress = travel(rng, letter.journey, accepted_at, self.now)
                    origin = _Origin(plan.message, str(message_id), customer.address, x_message_id, index)
                    self._add_events(origin, taken)
                    self._count_latency(taken, accepted_at)
                    if taken and (first_event_at is None or taken[0].received_at < first_event_at):
                        first_event_at = taken[0].received_at
                    if plan.sent_twice:
                        again = origin._replace(request=random_id(rng))
                        self._add_events(
                            again, travel(rng, letter.journey[:2], accepted_at + 40, self.now)[0]
                        )
                self.recipients.add(
                    *(self.recipients.next_id(), mail_pk, message_id.hex, customer.address, kind),
                    *(progress.status, progress.rank, timestamp(progress.status_at), progress.reject_reason),
                    *(timestamp(progress.opened_at), timestamp(progress.clicked_at)),
                    *(timestamp(progress.complained_at), timestamp(progress.unsubscribed_at)),
                )
            personalizations.append(
                Personalization(
                    id=str(message_id),
                    to=[_address(letter.to)],
                    cc=[_address(copied) for copied in letter.cc],
                    merge_data={"name": letter.to.name} if len(plan.letters) > 1 else {},
                )
            )
            if state == State.ACCEPTED and len(plan.letters) == 1:
                self.sent.append(Sent(message_id, letter.to, plan.message.subject, plan.at))
        is_final = state in FINAL
        is_kept = not is_final or plan.at > self.now - BODY_DAYS * DAY
        token = rng.getrandbits(62)
        is_unknown = state in (State.UNKNOWN, State.PARKED)
        self.messages.add(
            *(message_pk, timestamp(plan.at), self.alias),
            *((plan.message.subject, plan.message.content()) if is_kept else ("", None)),
        )
        if is_kept:
            for name, text in plan.message.labels():
                self.labels.add(self.labels.next_id(), message_pk, name, text)
        if plan.message.attachment and is_kept:
            self.attachments.add(
                *(self.attachments.next_id(), message_pk, plan.message.attachment, "application/pdf", PDF)
            )
        self.mails.add(
            *(mail_pk, message_pk, state.value, "bulk" if len(plan.letters) > 100 else "mail", self.alias),
            *(timestamp(plan.at), timestamp(plan.send_at)),
            timestamp(plan.at if is_final else self.now + plan.due_in),
            *(token if is_posted else None, plan.attempts if is_posted else 0),
            *(int(is_unknown), f"[{token}]" if is_unknown else "[]", timestamp(attempted_at)),
            timestamp(attempted_at + 30 if is_unknown and attempted_at else None),
            self.account if is_posted else "",
            timestamp(accepted_at if state == State.ACCEPTED else None),
            timestamp(first_event_at),
            timestamp(accepted_at if is_final else None),
            *(x_message_id, plan.sent_twice, plan.error, _log(plan, accepted_at), count),
            msgspec.json.encode(personalizations) if is_kept else None,
        )

    def _add_events(self, origin: "_Origin", taken: Iterable[Taken]) -> None:
        # Encoded once for all events of the mail: a million events take a third of the time.
        begin = msgspec.json.encode(origin.fields())[:-1]
        for step, happened_at, received_at in taken:
            event_id = random_id(self.rng)
            own = f',"timestamp":{happened_at},"sg_event_id":"{event_id}",'.encode()
            row = (
                *(
                    dedupe_key({"sg_event_id": event_id, "timestamp": happened_at}),
                    step.event_type,
                    event_id,
                    origin.message_id,
                    origin.address,
                ),
                *(timestamp(happened_at), timestamp(received_at), "tracking", begin + own + step.end_of_json),
            )
            self._events_by_day[int(received_at // DAY)].append((received_at, row))
            self.event_count += 1

    def _count_latency(self, taken: Iterable[Taken], accepted_at: float) -> None:
        for step, happened_at, _ in taken:
            if step.status == "delivered":
                place = bisect_left(BOUNDS, happened_at - accepted_at)
                label = str(BOUNDS[place]) if place < len(BOUNDS) else LONGER
                self.latencies[LATENCY.name, happened_at // 3600, label] += 1

    def write_until(self, day: int) -> list[tuple[int, str]]:
        """Insert the mails, and the events of this day and earlier days.

        Return the ids and types of the events.
        """
        stored: list[tuple[int, str]] = []
        for past in sorted(known for known in self._events_by_day if known <= day):
            # In the order of arrival, as retention expects.
            for _, row in sorted(self._events_by_day.pop(past), key=itemgetter(0)):
                pk = self.events.next_id()
                self.events.add(pk, *row)
                stored.append((pk, row[1]))
        for table in self.tables:
            table.write()
        return stored


class _Origin(NamedTuple):
    """The mail of an event."""

    message: Message
    message_id: str
    address: str
    #: The X-Message-Id.
    request: str
    #: The place of the personalization in the request.
    place: int

    def fields(self) -> dict[str, Any]:
        """The fields that SendGrid repeats in each event."""
        return {
            **self.message.metadata,
            MESSAGE_ID_ARG: self.message_id,
            "email": self.address,
            "smtp-id": f"<{self.request}@geopod-ismtpd-3>",
            "sg_message_id": f"{self.request}.recvd-6b8f5d9c7-lq4zt-1-6A01C2D3-5.{self.place}",
            "category": self.message.tags,
        }


def random_id(rng: random.Random) -> str:
    """22 characters, the form of SendGrid's ids."""
    return f"{rng.getrandbits(88):022x}"


def _address(customer: Customer) -> dict[str, str]:
    return {"email": customer.address, "name": customer.name}


def _log(plan: Plan, begin: float) -> str:
    entries = [
        {"at": f"{timestamp(begin + number)}+00:00", "what": text} for number, text in enumerate(plan.log)
    ]
    return msgspec.json.encode(entries).decode()
