"""The changes that an operator makes to mails, paused accounts and suppressions, with the workers to wake."""

import uuid
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db.models import Count, Q, QuerySet

from events_app.shared.changes import Change, Target
from sending_app import tasks
from sending_app.delivery import circuit_breaker
from sending_app.models import Mail, OpenCircuit, Suppression
from sending_app.outcome import manual
from sending_app.outcome import resend as resending
from sending_app.suppression import manual as suppressing

_LEFT_ALONE = {
    "in_progress": "a worker is posting them",
    "accepted": "there is proof by now that SendGrid has them",
    "empty": "what they said is gone, at the end of OUTBOX_BODY_DAYS",
    "refused": "SendGrid refuses their recipients; name a mail by its id to post it all the same",
}

#: Accepted and cancelled mails never change. Most mails are accepted.
_MAY_CHANGE = ~Q(state__in=(Mail.State.ACCEPTED, Mail.State.CANCELLED))

_MAYBE_TWICE = "If SendGrid has them after all, their recipients get them twice."

_WAKES: list[Callable[[], bool]] = [partial(tasks.wake_for, lane) for lane in Mail.Lane]


def retry(with_refused: bool) -> Change:
    """Post failed, rejected and deferred mails now. Mails with refused recipients only `with_refused`."""
    return _change(
        verb="retry",
        done="retried",
        find=partial(manual.retryable_mails, with_refused=with_refused),
        apply=lambda ids, operator: manual.retry_mails(ids, with_refused, operator),
        count_left_alone=lambda ids: (
            manual.count_being_posted(ids) + manual.count_not_retryable(ids, with_refused)
        ),
        otherwise="with nothing to retry: accepted, due already, cancelled, or to be settled first",
        wakes=_WAKES,
    )


def cancel() -> Change:
    """Give up waiting, unknown and parked mails."""
    return _change(
        verb="cancel",
        done="cancelled",
        find=manual.cancellable_mails,
        apply=manual.cancel_mails,
        otherwise="with nothing to cancel: accepted, or given up already",
    )


def park() -> Change:
    """Post no waiting and unknown mails until they are settled."""
    return _change(
        verb="park",
        done="parked",
        find=manual.parkable_mails,
        apply=manual.park_mails,
        otherwise="with nothing to park: accepted, failed, rejected, cancelled, or parked already",
    )


def settle(sent: bool) -> Change:
    """Say that SendGrid has unknown and parked mails, or post the mails again."""
    return _change(
        verb="settle",
        done="settled",
        find=manual.unsettled_mails,
        apply=lambda ids, operator: manual.settle_mails(ids, sent, operator),
        otherwise="with nothing to settle: neither unknown nor parked",
        wakes=() if sent else _WAKES,
        warning="" if sent else _MAYBE_TWICE,
        description="settled as sent" if sent else "settled as not sent",
    )


def resend(with_refused: bool, confirmation: uuid.UUID) -> Change:
    """Send mails again as new ones. A confirmation sends no mail twice."""
    return Change(
        MAILS,
        verb="resend",
        done="resent",
        find=partial(resending.resendable_mails, with_refused=with_refused),
        apply=lambda ids, operator: resending.resend_mails(ids, confirmation, with_refused, operator),
        left_alone=_LEFT_ALONE
        | {
            "again": "sent again before, by the same confirmation",
            "unreadable": "their content cannot be read",
        },
        count_left_alone=partial(resending.count_not_resendable, with_refused=with_refused),
        otherwise="with nothing to send again: waiting, being posted, or unknown",
        size=resending.SLICE,
        wakes=_WAKES,
        warning="Recipients who have the first mail get a second one.",
        description="sent again as a new mail",
        count_reach=resending.count_recipients,
    )


def probe() -> Change:
    """Let a worker probe paused accounts now."""
    return Change(
        CIRCUITS,
        verb="probe",
        done="probed",
        find=circuit_breaker.waiting_circuits,
        apply=circuit_breaker.probe_now,
        left_alone={},
        count_left_alone=lambda _: Counter(),
        otherwise="left alone: a worker may probe already",
        wakes=_WAKES,
        warning="If SendGrid still refuses the account, the pause gets longer.",
        description="probe asked for",
    )


def remove_suppressions() -> Change:
    """End suppressions, so that mail may go to their addresses again."""
    return Change(
        SUPPRESSIONS,
        verb="remove",
        done="removed",
        find=suppressing.removable,
        apply=suppressing.remove,
        left_alone={},
        count_left_alone=lambda _: Counter(),
        otherwise="left alone: ended already",
        warning="SendGrid may have these addresses in lists of its own, and then sends no mail to them. "
        "This command removes them there too: manage.py suppressions sync --push --apply",
        description="suppression removed",
    )


def _count_groups(mails: "QuerySet[Any]") -> Counter[tuple[object, ...]]:
    counts = mails.order_by().values_list("state", "lane", "alias").annotate(Count("pk"))
    return Counter({(state, lane, alias): count for state, lane, alias, count in counts})


def _count_circuits(circuits: "QuerySet[Any]") -> Counter[tuple[object, ...]]:
    return Counter(circuits.order_by().values_list("alias", "status_code"))


def _count_suppressions(suppressions: "QuerySet[Any]") -> Counter[tuple[object, ...]]:
    counts = suppressions.order_by().values_list("reason", "scope").annotate(Count("pk"))
    return Counter({(reason, scope): count for reason, scope, count in counts})


#: Mails, open circuits and suppressions, as the changes see them.
MAILS = Target(Mail, "mail", ("state", "lane", "mailer"), _count_groups, named_by=["state"])
CIRCUITS = Target(OpenCircuit, "account", ("mailer", "status"), _count_circuits, named_by=["alias"])
SUPPRESSIONS = Target(Suppression, "suppression", ("reason", "scope"), _count_suppressions)


def _change(**change: Any) -> Change:
    defaults = {"left_alone": _LEFT_ALONE, "count_left_alone": manual.count_being_posted, "only": _MAY_CHANGE}
    return Change(MAILS, size=manual.SLICE, **{**defaults, **change})
