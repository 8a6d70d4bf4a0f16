"""Numbers of recipients by status, for lists and pages of mails."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, Min, Q

from sending_app.models import Recipient

#: The statuses to count. Any other recipient is "sent", or "waiting".
COUNTED = ("bounced", "rejected", "deferred", "failed", "delivered")


@dataclass(frozen=True)
class Counts:
    """Numbers of recipients of a mail."""

    total: int = 0
    by_status: Mapping[str, int] = field(default_factory=dict)
    complained: int = 0
    opened: int = 0
    clicked: int = 0
    unsubscribed: int = 0
    #: The primary key of the first recipient.
    first: int | None = None

    def numbers(self, accepted: bool) -> Iterator[tuple[str, int]]:
        """The words with the number of recipients, without zeros."""
        known = sum(self.by_status.values())
        yield from ((word, self.by_status[word]) for word in COUNTED if self.by_status.get(word))
        if self.total > known:
            yield "sent" if accepted else "waiting", self.total - known
        for name in ("opened", "clicked", "complained", "unsubscribed"):
            if number := getattr(self, name):
                yield name, number


_NUMBERS = {
    **{status: Count("pk", filter=Q(status=status)) for status in COUNTED},
    "total": Count("pk"),
    "first": Min("pk"),
    "complained": Count("complained_at"),
    "opened": Count("opened_at"),
    "clicked": Count("clicked_at"),
    "unsubscribed": Count("unsubscribed_at"),
}


def counts_by_mail(pks: Iterable[int]) -> dict[int, Counts]:
    """The numbers of recipients by mail, in a single query."""
    recipients: Any = Recipient.objects.filter(mail__in=list(pks)).order_by().values("mail")
    return {row["mail"]: _counts(row) for row in recipients.annotate(**_NUMBERS)}


def counts_of_mail(pk: int) -> Counts:
    """The numbers of recipients of one mail."""
    return counts_by_mail([pk]).get(pk, Counts())


def _counts(row: Mapping[str, Any]) -> Counts:
    names = ("total", "first", "complained", "opened", "clicked", "unsubscribed")
    by_status = {status: row[status] for status in COUNTED}
    return Counts(by_status=by_status, **{name: row[name] for name in names})
