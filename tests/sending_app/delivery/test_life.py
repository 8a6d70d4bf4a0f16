"""A state machine takes mails through all faults, in any order.

A mail that SendGrid is known to have is never posted again. SendGrid has a mail twice only if the rules
allowed a second post. After the last fault every mail is accepted, failed, parked or due.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from events_app.models import Event, PendingDelivery
from sending_app.api.client import SendResult
from sending_app.delivery import circuit_breaker, leases, reconcile, sender
from sending_app.delivery.leases import LeasedMail
from sending_app.exceptions import Outcome
from sending_app.models import Mail, OpenCircuit, OutboxMessage, Recipient, WebhookActivity
from sending_app.outcome import activity
from sending_app.outcome.recipients import RANKED_STATUSES
from tests.support.examples import examples
from tests.support.recorded_calls import RecordedSignals, recorded_signals
from tests.support.sending.delivery import write_result
from tests.support.sending.mail_events import event_payload, receive_events, stored_recipients
from tests.support.sending.outbox_mails import all_parts, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

MAIL = Mail.Lane.MAIL
State = Mail.State

#: What SendGrid answers to a post, and whether it has taken the mail then.
ANSWERS = {
    "accepted": (Outcome.ACCEPTED, True),
    "accepted without an id": (Outcome.ACCEPTED, True),
    "retry": (Outcome.RETRY, False),
    "paused": (Outcome.PAUSED, False),
    "failed": (Outcome.FAILED, False),
    "lost": (Outcome.UNKNOWN, False),
    "taken and lost": (Outcome.UNKNOWN, True),
}

MOMENTS = (
    *("created_at", "send_at", "due", "attempted_at", "unknown_since"),
    *("accepted_at", "first_event_at", "finished_at"),
)

indexes = st.integers(0, 5)


class Lives(RuleBasedStateMachine):
    """An outbox, its workers, and SendGrid."""

    told: RecordedSignals

    def __init__(self) -> None:
        super().__init__()
        for model in (PendingDelivery, Event, OutboxMessage, OpenCircuit, WebhookActivity):
            model.objects.all().delete()
        activity.known_buckets.clear()
        sender.unwritten.writes.clear()
        self.told.calls.clear()
        #: The requests with which SendGrid has taken each part.
        self.taken: defaultdict[int, list[str]] = defaultdict(list)
        #: Parts of which an event, or a 202, has been heard.
        self.known: set[int] = set()
        #: Parts that were settled as not sent: these alone may be taken twice.
        self.sent_again: set[int] = set()
        self.in_hand: list[LeasedMail] = []
        #: Answers that are on their way to a worker which is given up already.
        self.late: list[tuple[LeasedMail, SendResult]] = []
        self.ranks: dict[int, int] = {}

    # What happens

    @rule()
    def send(self) -> None:
        if Mail.objects.count() < 4:
            put_in_outbox()

    @rule()
    def take(self) -> None:
        taken = leases.acquire(MAIL)
        if taken:
            assert taken.mail.pk not in self.known
            if self.taken[taken.mail.pk]:
                assert taken.mail.pk in self.sent_again
            self.in_hand.append(taken)

    @precondition(lambda self: self.in_hand)
    @rule(index=indexes, answer=st.sampled_from(sorted(ANSWERS)), late=st.booleans())
    def post(self, index: int, answer: str, late: bool) -> None:
        """A worker posts and records the response, or freezes before recording."""
        taken = self.in_hand.pop(index % len(self.in_hand))
        result = self._answer(taken, answer)
        if late:
            self.late.append((taken, result))
        else:
            self._write(taken, result)

    @precondition(lambda self: self.in_hand)
    @rule(index=indexes, posted=st.booleans())
    def die(self, index: int, posted: bool) -> None:
        taken = self.in_hand.pop(index % len(self.in_hand))
        if posted:
            self._answer(taken, "taken and lost")

    @precondition(lambda self: self.late)
    @rule(index=indexes)
    def hear_late(self, index: int) -> None:
        self._write(*self.late.pop(index % len(self.late)))

    @precondition(lambda self: any(self.taken.values()))
    @rule(
        index=indexes, first=st.booleans(), kind=st.sampled_from(["processed", "delivered", "bounce", "open"])
    )
    def event(self, index: int, first: bool, kind: str) -> None:
        mails = sorted(pk for pk, requests in self.taken.items() if requests)
        pk = mails[index % len(mails)]
        base = self.taken[pk][0 if first else -1]
        receive_events(event_payload(kind, stored_recipients(Mail.objects.get(pk=pk))[0], base=base))
        self.known.add(pk)

    @precondition(lambda self: self.in_hand)
    @rule(index=indexes, answer=st.sampled_from(sorted(ANSWERS)), another_takes_it=st.booleans())
    def freeze_until_it_is_sent_again(self, index: int, answer: str, another_takes_it: bool) -> None:
        """The conditions of a second post, which rarely meet by chance."""
        taken = self.in_hand.pop(index % len(self.in_hand))
        self.late.append((taken, self._answer(taken, answer)))
        self.time_passes(200)
        self.settle()
        self.time_passes(700)
        OpenCircuit.objects.all().delete()
        put_in_outbox()
        while later := leases.acquire(MAIL):
            self._write(later, self._answer(later, "accepted"))
            receive_events(
                event_payload(
                    "processed", stored_recipients(later.mail)[0], base=self.taken[later.mail.pk][-1]
                )
            )
        self.posts_got_through()
        self.settle()
        if another_takes_it:
            self.take()

    @rule(seconds=st.sampled_from([20, 200, 700, 40_000]))
    def time_passes(self, seconds: int) -> None:
        time = timedelta(seconds=seconds)
        for one in all_parts():
            earlier = {name: getattr(one, name) - time for name in MOMENTS if getattr(one, name)}
            Mail.objects.filter(pk=one.pk).update(**earlier)
        for pause in OpenCircuit.objects.all():
            OpenCircuit.objects.filter(pk=pause.pk).update(
                probe_at=pause.probe_at - time, opened_at=pause.opened_at - time
            )
        for row in WebhookActivity.objects.order_by("at"):
            WebhookActivity.objects.filter(pk=row.pk).update(at=row.at - time)
        activity.known_buckets.clear()

    @rule()
    def posts_got_through(self) -> None:
        """Events of every account came during the last half hour."""
        now = datetime.now(UTC)
        accounts = set(Mail.objects.exclude(account="").values_list("account", flat=True))
        WebhookActivity.objects.bulk_create(
            WebhookActivity(account=one, at=now - timedelta(minutes=minutes))
            for one in accounts
            for minutes in range(30)
        )

    @rule()
    def settle(self) -> None:
        before = {one.pk: one for one in all_parts()}
        reconcile.reconcile_all()
        for one in all_parts():
            # One sweep may take a mail from posting through unknown to waiting.
            if before[one.pk].state in (State.POSTING, State.UNKNOWN) and one.state == State.WAITING:
                self._may_be_sent_again(one)
                self.sent_again.add(one.pk)

    def _may_be_sent_again(self, one: Mail) -> None:
        """The wait for events is over, and events of the mails accepted around the attempt came in time."""
        assert one.attempted_at
        assert one.unknown_since
        assert one.pk not in self.known
        assert one.unknown_since + timedelta(minutes=10) <= datetime.now(UTC)
        around = (one.attempted_at - timedelta(minutes=1), one.unknown_since + timedelta(minutes=1))
        for other in Mail.objects.filter(accepted_at__isnull=False, attempted_at__range=around):
            assert other.attempted_at
            assert other.first_event_at
            assert other.first_event_at - other.attempted_at <= timedelta(minutes=5)

    def _answer(self, taken: LeasedMail, answer: str) -> SendResult:
        outcome, accepts = ANSWERS[answer]
        pk = taken.mail.pk
        x_message_id = f"part{pk:08d}request{len(self.taken[pk]):03d}"
        if accepts:
            self.taken[pk].append(x_message_id)
        told = x_message_id if answer == "accepted" else ""
        return SendResult(outcome, 202 if outcome is Outcome.ACCEPTED else 429, told, detail=answer)

    def _write(self, taken: LeasedMail, result: SendResult) -> None:
        write_result(taken, result)
        if result.outcome is Outcome.ACCEPTED:
            self.known.add(taken.mail.pk)

    # What must hold

    @invariant()
    def what_sendgrid_is_known_to_have_is_accepted(self) -> None:
        for one in all_parts():
            if one.pk in self.known:
                assert one.state in (State.ACCEPTED, State.POSTING)
            elif one.state == State.ACCEPTED:
                raise AssertionError("nothing shows that SendGrid has it")

    @invariant()
    def what_went_out_twice_is_recorded_as_far_as_its_ids_were_heard(self) -> None:
        for one in all_parts():
            if one.sent_twice:
                assert len(self.taken[one.pk]) > 1
            if len(self.taken[one.pk]) > 1:
                assert one.pk in self.sent_again

    @invariant()
    def no_status_falls(self) -> None:
        for one in Recipient.objects.all():
            assert one.rank >= self.ranks.get(one.pk, 0) or self.ranks[one.pk] == 1
            self.ranks[one.pk] = one.rank
            if one.status == "failed":
                assert one.mail.state == State.FAILED

    @invariant()
    def receivers_are_told_once(self) -> None:
        calls: Counter[tuple[str, Any]] = Counter()
        for name, found in self.told.calls:
            calls[name, found["status"].message_id] += 1
        assert set(calls.values()) <= {1}

    def teardown(self) -> None:
        self.time_passes(200_000)
        self.settle()
        self.time_passes(200_000)
        self.settle()
        for one in all_parts():
            assert one.state in (State.ACCEPTED, State.FAILED, State.PARKED)
            assert one.state == State.ACCEPTED or one.error
            if one.state == State.ACCEPTED:
                assert one.accepted_at
                told = [name for name, found in self.told.calls if self._is_of(found, one)]
                assert "post_send" in told
            if one.pk in self.known:
                assert one.state == State.ACCEPTED
        self.no_status_falls()
        self.receivers_are_told_once()

    @staticmethod
    def _is_of(found: dict[str, Any], one: Mail) -> bool:
        return bool(found["status"].message_id == str(stored_recipients(one)[0].message_id))


def test_no_mail_is_lost_or_knowingly_sent_twice(database: str, anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY="SG.fake", SEND_UNKNOWN_WAIT=600)
    assert RANKED_STATUSES
    assert circuit_breaker.MAX_OPEN_TIME < 700
    with recorded_signals() as Lives.told:
        run_state_machine_as_test(
            Lives,
            settings=hypothesis_settings(
                max_examples=examples(40), stateful_step_count=25, suppress_health_check=list(HealthCheck)
            ),
        )


def test_one_sweep_may_send_again_a_mail_whose_worker_died_long_ago(
    database: str, anymail: Callable[..., None]
) -> None:
    anymail(SENDGRID_API_KEY="SG.fake", SEND_UNKNOWN_WAIT=600)
    with recorded_signals() as Lives.told:
        lives = Lives()
        lives.send()
        lives.take()
        lives.post(index=0, answer="accepted", late=True)
        lives.posts_got_through()
        lives.time_passes(900)
        lives.posts_got_through()
        lives.settle()
        lives.take()
        lives.post(index=0, answer="accepted", late=False)
        assert len(*lives.taken.values()) == 2
        lives.what_went_out_twice_is_recorded_as_far_as_its_ids_were_heard()
