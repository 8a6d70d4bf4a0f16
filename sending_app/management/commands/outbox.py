"""The operator's command for mails: what waits, what became of each, and what to do about it."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

from django.core.management.base import CommandParser
from django.db.models import QuerySet

from events_app.shared.console.command import Console, Options
from events_app.shared.console.terminal import dump
from sending_app import filters, tasks
from sending_app.filters import Criteria
from sending_app.management import arguments, rendering, status
from sending_app.models import Mail
from sending_app.outcome import manual
from sending_app.outcome.manual import ActionResult

#: States in which nothing is changed by hand.
_AT_REST = (Mail.State.ACCEPTED, Mail.State.CANCELLED)

_LEFT_ALONE = {
    "in_progress": "a worker is posting them",
    "accepted": "there is proof by now that SendGrid has them",
    "empty": "what they said is gone, at the end of OUTBOX_BODY_DAYS",
}

_OTHERS = {
    "retried": "with nothing to retry: accepted, due already, cancelled, or to be settled first",
    "cancelled": "with nothing to cancel: accepted, or given up already",
    "settled": "with nothing to settle: neither unknown nor parked",
}

#: What a rehearsal counts by.
_GROUP = ("state", "lane", "alias")
_NAMES = {"state": "state", "lane": "lane", "mailer": "mailer"}


@dataclass(frozen=True)
class _Change:
    """Something to do to many mails."""

    what: str
    done: str
    #: Which of them it would take.
    takes: Callable[[Sequence[int]], "QuerySet[Mail]"]
    make: Callable[[Sequence[int]], ActionResult]
    #: Whether workers have work then.
    posts: bool = False


class Command(Console):
    help = "The outbox: look mails up, see what happened to them, try them again, give them up."
    noun = "mail"

    def add_arguments(self, parser: CommandParser) -> None:
        arguments.add_to(parser)

    # To look at

    def _list(self, options: Options) -> None:
        criteria = arguments.criteria(options)
        self.warn_of(filters.missing(criteria.ids))
        mails = rendering.with_first(filters.find(criteria))
        self.write_list(mails, options, rendering.table(self.width()), rendering.cells, rendering.as_json)

    def _show(self, options: Options) -> None:
        criteria = arguments.criteria(options)
        self.require(criteria != Criteria())
        most = None if options["all"] else rendering.FIRST
        full = rendering.MailPages(
            filters.recipients(criteria), filters.in_events(criteria), most, self.width()
        )
        mails = filters.find(criteria).select_related("message").defer("personalizations", "message__content")
        self.write_pages(mails, options, full.page, full.as_json, partial(filters.missing, criteria.ids))

    def _status(self, options: Options) -> None:
        found = status.gather()
        self.write([dump(found)] if options["json"] else status.page(found))

    # To change

    def _retry(self, options: Options) -> None:
        self._change(_Change("retry", "retried", manual.retryable, manual.retry, posts=True), options)

    def _cancel(self, options: Options) -> None:
        self._change(_Change("cancel", "cancelled", manual.cancellable, manual.cancel), options)

    def _settle(self, options: Options) -> None:
        make = partial(manual.settle, sent=options["sent"])
        change = _Change("settle", "settled", manual.unsettled, make, posts=options["not_sent"])
        self._change(change, options)

    def _change(self, change: _Change, options: Options) -> None:
        mails = self._to_change(options)
        did = Counter(matched=mails.count(), **dict.fromkeys((change.done, *_LEFT_ALONE), 0))
        # With most there is nothing to do.
        pks = self.pks(mails.exclude(state__in=_AT_REST), options, manual.SLICE)
        if options["dry_run"]:
            taken = chain.from_iterable(change.takes(some).values_list(*_GROUP) for some in pks)
            self.write_dry_run(change.what, Counter(taken), _NAMES, did["matched"], options)
            return
        try:
            for some in pks:
                came = change.make(some)._asdict()
                did.update({change.done: came.pop("changed"), **came})
        finally:
            if change.posts and did[change.done]:
                for lane in Mail.Lane:
                    tasks.wake_for(lane)
            self._tell(did, change, options)

    def _to_change(self, options: Options) -> "QuerySet[Mail]":
        criteria = arguments.criteria(options)
        self.require(criteria != Criteria() or options["all"], or_all=True)
        self.warn_of(filters.missing(criteria.ids))
        return filters.find(criteria)

    def _tell(self, did: Counter[str], change: _Change, options: Options) -> None:
        if options["json"]:
            self.stdout.write(dump(did))
            return
        done = change.done
        self.stdout.write(f"{done.capitalize()} {did[done]} of {self.counted(did['matched'])}.")
        for name, why in _LEFT_ALONE.items():
            if did[name]:
                self.stdout.write(f"{did[name]} left alone: {why}.")
        others = did["matched"] - sum(did[name] for name in (done, *_LEFT_ALONE))
        if others > 0:  # a mail may have changed since it was counted
            self.stdout.write(f"{others} {_OTHERS[done]}.")
        if change.posts and did[done]:
            self.stdout.write("A worker posts them now, or at beat's next tick.")
            if done == "settled":
                self.stdout.write("If SendGrid has them after all, their recipients get them twice.")
