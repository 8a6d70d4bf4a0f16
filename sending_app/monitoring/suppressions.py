"""The facts about suppressed addresses."""

from collections.abc import Iterator, Mapping

from django.db.models import Count, Q

from events_app.shared.facts import DATABASE, Depth, Reading, declare, source
from events_app.shared.latest import Latest
from sending_app.models import Suppression
from sending_app.suppression.manual import in_force, using

#: Most rows that are counted: no index has the rows by reason. A million takes up to half a second.
MOST = 1_000_000

#: Seconds for which a process keeps the counts.
KEPT = 60.0

SUPPRESSED = declare(
    "suppressed_addresses",
    "Suppressions that hold now, by reason, of up to a million",
    labels=("reason",),
)


def _count() -> Mapping[str, int]:
    counts = {reason.value: Count("pk", filter=Q(reason=reason)) for reason in Suppression.Reason}
    return Suppression.objects.filter(in_force(using())).order_by()[:MOST].aggregate(**counts)


latest = Latest(_count, KEPT)


@source(Depth.FIGURES, DATABASE)
def read_suppressions() -> Iterator[Reading]:
    """Count the suppressed addresses by reason."""
    for reason, count in latest.get().items():
        page = f"admin:sending_app_suppression_changelist?state=active&reason={reason}"
        yield SUPPRESSED.read(count, reason, page=page)
