"""The changes that an operator makes to events and inbound mails, with the workers to wake."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from django.db.models import Q, QuerySet

from events_app import tasks
from events_app.dispatch import kinds, replay
from events_app.dispatch.filters import pending_of, state_of
from events_app.dispatch.kinds import Kind
from events_app.dispatch.reasons import errors_of
from events_app.inbound import store
from events_app.models import Event, InboundMail
from events_app.shared.changes import Change, Target
from events_app.shared.wakeup import wake

if TYPE_CHECKING:
    from celery import Task


@dataclass(frozen=True)
class Changes:
    """The changes of one kind of stored rows."""

    kind: Kind
    target: Target
    retry_task: "Task[[], object]"
    recover_task: "Task[[], object]"

    def retry(self) -> Change:
        """Call failed receivers again now."""
        return Change(
            self.target,
            verb="retry",
            done="retried",
            find=partial(replay.retryable, kind=self.kind),
            apply=lambda ids, operator: replay.retry(ids, self.kind, operator),
            left_alone={"in_progress": "a worker has them in hand"},
            count_left_alone=partial(replay.count_in_progress, kind=self.kind),
            otherwise="with nothing to retry: done, or not tried yet",
            only=Q(pending__isnull=False),
            wakes=[partial(wake, self.retry_task), partial(wake, self.recover_task)],
        )

    def replay(self, names: Sequence[str]) -> Change:
        """Call the named receivers anew; without names, every receiver."""
        hint = f"to call the receivers of deferred ones now: {self.kind.command} retry"
        return Change(
            self.target,
            verb="replay",
            done="replayed",
            find=partial(replay.replayable, kind=self.kind),
            apply=lambda ids, operator: replay.replay(ids, names, self.kind, operator),
            left_alone={"pending": f"still pending ({hint})"},
            count_left_alone=partial(replay.count_pending, kind=self.kind),
            wakes=[partial(wake, self.retry_task)],
            description=f"replayed to {', '.join(names) or 'all receivers'}",
        )

    def discard(self) -> Change:
        """Give dead letters up. Workers call the receivers no more."""
        return Change(
            self.target,
            verb="discard",
            done="discarded",
            find=partial(replay.discardable, kind=self.kind),
            apply=lambda ids, operator: replay.discard(ids, self.kind, operator),
            left_alone={},
            count_left_alone=lambda _: Counter(),
            otherwise="left alone: no dead letters",
            only=Q(pending__isnull=False),
            description="dead letter discarded",
        )


def _state(row: Any) -> str:
    return state_of(pending_of(row)).value


def _failed_receivers(row: Any) -> tuple[str, ...]:
    pending = pending_of(row)
    return tuple(errors_of(pending)) if pending else ()


def _target(
    model: type[Any],
    noun: str,
    named_by: Sequence[str],
    large: Sequence[str],
    **groups: Callable[[Any], object],
) -> Target:
    def count(rows: "QuerySet[Any]") -> Counter[tuple[object, ...]]:
        light = rows.select_related("pending").defer(*large)
        return Counter(tuple(group(row) for group in groups.values()) for row in light)

    return Target(model, noun, tuple(groups), count, named_by)


EVENTS = Changes(
    kinds.EVENTS,
    _target(
        *(Event, "event", ["event_type"], ["raw"]),
        type=attrgetter("event_type"),
        state=_state,
        receivers=_failed_receivers,
    ),
    tasks.retry_events,
    tasks.recover_events,
)

INBOUND_MAILS = Changes(
    store.INBOUND_MAILS,
    _target(InboundMail, "mail", [], [], state=_state, receivers=_failed_receivers),
    tasks.retry_inbound,
    tasks.recover_inbound,
)
