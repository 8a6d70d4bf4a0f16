"""Compare the suppressions here with SendGrid's lists, and carry over what one side lacks.

A run that ended in the middle is run again: words that are known and addresses that are there already change
nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from events_app.shared.addresses import comparable
from events_app.shared.database import clean, database_now, slices
from events_app.shared.escaping import one_line
from events_app.shared.personal_data.pseudonyms import is_pseudonym
from sending_app.api import suppression_lists
from sending_app.api.suppression_lists import ADDED_AT_ONCE, Entry, RemoteList, SuppressionLists
from sending_app.exceptions import InvalidAddress
from sending_app.models import Suppression
from sending_app.suppression.beginnings import beginnings, with_rows
from sending_app.suppression.manual import in_force, storable_address
from sending_app.suppression.record import Word, record_words
from sending_app.suppression.scopes import GROUP

Reason, Source = Suppression.Reason, Suppression.Source

#: SendGrid's lists with the reasons that they mean here. Not the blocks: SendGrid sends to blocked addresses.
#: None: the members of all unsubscribe groups.
PARTS: Sequence[tuple[Suppression.Reason, RemoteList | None]] = (
    (Reason.BOUNCED, suppression_lists.BOUNCES),
    (Reason.SPAM, suppression_lists.SPAM_REPORTS),
    (Reason.INVALID, suppression_lists.INVALID_EMAILS),
    (Reason.UNSUBSCRIBED, suppression_lists.GLOBAL_UNSUBSCRIBES),
    (Reason.UNSUBSCRIBED, None),
)

#: A suppression that is so young may not yet be on SendGrid's list.
_LAG = timedelta(hours=1)

#: Addresses that a report names.
NAMED = 20

_LONGEST = 320


@dataclass
class PartReport:
    """The difference between one of SendGrid's lists and the suppressions here."""

    name: str
    #: Entries of SendGrid's list.
    entries: int = 0
    #: Suppressions that begin here.
    begun: int = 0
    #: Entries of addresses whose suppression an operator has ended here later.
    ended_here: int = 0
    #: Suppressed here and not there, and SendGrid's API can add them.
    missing_there: int = 0
    #: Additions that SendGrid has refused.
    refused: int = 0
    #: Suppressed here and not there, and only SendGrid itself can add them.
    not_addable: int = 0
    #: Suppressed here because of SendGrid, and no longer on its list.
    vanished: int = 0
    #: The first addresses of these.
    vanished_addresses: list[str] = field(default_factory=list)
    #: Suppressions that have ended here because no account has the address on its list any more.
    ended: int = 0


@dataclass(frozen=True, kw_only=True)
class Sync:
    """A comparison of one account's lists with the suppressions here, and the changes of both."""

    lists: SuppressionLists
    database: str
    #: Whether changes are made. Otherwise they are only counted.
    apply: bool
    #: Whether SendGrid's lists are changed too.
    push: bool
    #: Whether suppressions end here that have vanished from SendGrid's lists.
    pull_removals: bool
    #: The lists of all accounts: an address that is on a list of any of them has not vanished.
    every: Sequence[SuppressionLists]

    def run(self) -> Iterator[PartReport]:
        """Compare list by list. The report of a list grows, and is yielded after each page."""
        for reason, remote in PARTS:
            yield from self._compare(reason, remote)

    def count_without_list(self) -> int:
        """The number of suppressions that no list of SendGrid can have."""
        groups = [f"{GROUP}{group}" for group in self.lists.groups()]
        listed = Q(scope="") & ~Q(reason=Reason.BLOCKED) | Q(reason=Reason.UNSUBSCRIBED, scope__in=groups)
        rows = Suppression.objects.using(self.database).filter(in_force(self.database))
        return rows.exclude(listed, until=None).count()

    def _compare(self, reason: Suppression.Reason, remote: RemoteList | None) -> Iterator[PartReport]:
        started = database_now(self.database)
        groups = self.lists.groups() if remote is None else []
        report = PartReport(remote.name if remote else "unsubscribe groups")
        yield report
        path = remote.pages if remote else suppression_lists.MEMBERS
        # Hashes: a list may have millions of entries.
        seen: set[int] = set()
        ended_here: list[tuple[RemoteList, str]] = []
        for page in self.lists.pages(path, started):
            report.entries += len(page)
            pairs = with_rows([_word(entry, reason) for entry in page], self.database)
            words = beginnings(pairs)
            report.begun += record_words(words, self.database) if self.apply else len({w.key for w in words})
            for entry, (word, row) in zip(page, pairs, strict=True):
                seen.add(hash((word.address, word.scope)))
                if row is not None and _ended_by_operator(row, word):
                    ended_here.append((remote or RemoteList.of_group(entry.group or 0), entry.email))
            report.ended_here = len(ended_here)
            yield report
        if self.apply and self.push:
            for target, email in ended_here:
                self.lists.remove(target, email)
                yield report
        for rows in slices(self._suppressed_here(reason, remote, groups, started - _LAG)):
            missing = [row for row in rows if hash((row.address, row.scope)) not in seen]
            self._handle_missing([row for row in missing if not is_pseudonym(row.address)], remote, report)
            yield report

    def _suppressed_here(
        self, reason: Suppression.Reason, remote: RemoteList | None, groups: Iterable[int], before: datetime
    ) -> "QuerySet[Suppression]":
        """The suppressions that the list would have if both sides were equal."""
        scopes = [""] if remote else [f"{GROUP}{group}" for group in groups]
        # SendGrid's suppressions have no end: a suppression for a time would come back without one.
        return Suppression.objects.using(self.database).filter(
            active=True, until=None, reason=reason, scope__in=scopes, decided_at__lt=before
        )

    def _handle_missing(
        self, rows: Sequence[Suppression], remote: RemoteList | None, report: PartReport
    ) -> None:
        """Add suppressions at SendGrid, or end them here, as the options say."""
        vanished = [row for row in rows if _is_from_sendgrid(row)]
        others = [row for row in rows if not _is_from_sendgrid(row)]
        report.vanished += len(vanished)
        free = NAMED - len(report.vanished_addresses)
        report.vanished_addresses += [row.address for row in vanished[:free]]
        if self.apply and self.pull_removals:
            report.ended += self._end(vanished, remote)
        by_target: dict[RemoteList, list[str]] = {}
        for row in others:
            target = remote or RemoteList.of_group(_group(row) or 0)
            by_target.setdefault(target, []).append(row.address)
        for target, emails in by_target.items():
            if not target.addition:
                report.not_addable += len(emails)
                continue
            report.missing_there += len(emails)
            if self.apply and self.push:
                for at in range(0, len(emails), ADDED_AT_ONCE):
                    part = emails[at : at + ADDED_AT_ONCE]
                    report.refused += len(part) - self.lists.add(target, part)

    def _end(self, rows: Iterable[Suppression], remote: RemoteList | None) -> int:
        """End the suppressions whose addresses are on the list of no account."""
        # Asked one by one: an entry may have moved between two pages, or be on the list of another account.
        gone = [row for row in rows if not self._is_listed(row, remote)]
        now = database_now(self.database)
        return record_words(
            (
                Word(
                    address=row.address,
                    scope=row.scope,
                    reason=Reason(row.reason),
                    active=False,
                    at=now,
                    source=Source.SENDGRID,
                )
                for row in gone
            ),
            self.database,
        )

    def _is_listed(self, row: Suppression, remote: RemoteList | None) -> bool:
        group = _group(row)
        targets = [remote or RemoteList.of_group(group or 0)]
        if row.reason != Reason.UNSUBSCRIBED:
            # Events call a bounce for the content of the mail "spam", and SendGrid lists it as a bounce.
            targets = [
                suppression_lists.BOUNCES,
                suppression_lists.SPAM_REPORTS,
                suppression_lists.INVALID_EMAILS,
            ]
        return any(lists.has(target, row.address, group) for lists in self.every for target in targets)


def _word(entry: Entry, reason: Suppression.Reason) -> Word:
    try:
        address = storable_address(entry.email)
    except InvalidAddress:  # of the list of invalid addresses
        address = comparable(one_line(clean(entry.email)))[:_LONGEST]
    scope = "" if entry.group is None else f"{GROUP}{entry.group}"
    return Word(address=address, scope=scope, reason=reason, at=entry.created, source=Source.SENDGRID)


def _ended_by_operator(row: Suppression, word: Word) -> bool:
    return not row.active and row.source == Source.OPERATOR and row.decided_at > word.at


def _is_from_sendgrid(row: Suppression) -> bool:
    """Whether SendGrid's list had the address. Events of an unsubscribe may be those of our own page."""
    return row.source == Source.SENDGRID or (row.source == Source.EVENT and row.reason != Reason.UNSUBSCRIBED)


def _group(row: Suppression) -> int | None:
    number = row.scope.removeprefix(GROUP)
    return int(number) if row.scope.startswith(GROUP) and number.isdecimal() else None
