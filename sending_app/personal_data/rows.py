"""Put the pseudonym of a person in place of the address: recipients and suppressions.

The statuses of mails stay, and so does each suppression: who has the key finds it by the pseudonym.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from uuid import UUID

from django.db import transaction

from events_app.shared.database import AnyOf, slices
from events_app.shared.personal_data.person import Person
from events_app.shared.personal_data.registry import Counts
from sending_app.models import Recipient, Suppression
from sending_app.outbox import using
from sending_app.personal_data.messages import own_addresses
from sending_app.suppression.record import Word, record_words

#: Recipients that one transaction changes.
SLICE = 1000


def recipients(person: Person, erases: bool) -> Iterator[Counts]:
    """Pseudonymise the recipients, or only count, and yield the counts of each slice."""
    for rows in slices(Recipient.objects.filter(address__in=person.addresses).only("message_id"), SLICE):
        if erases:
            with transaction.atomic(using=using()):
                _pseudonymise(person, [row.message_id for row in rows])
        yield Counter(recipients=len(rows))


def _pseudonymise(person: Person, ids: list[UUID]) -> None:
    """Pseudonymise the recipients of these message ids. Of two rows of an id the further one stays."""
    rows = Recipient.objects.filter(message_id__in=ids, address__in=own_addresses(person)).order_by("pk")
    by_id = defaultdict(list)
    for pk, message_id, rank in rows.select_for_update().values_list("pk", "message_id", "rank"):
        by_id[message_id].append((rank, pk))
    kept = [max(ranked)[1] for ranked in by_id.values()]
    rows.exclude(AnyOf("pk", kept)).delete()
    Recipient.objects.filter(AnyOf("pk", kept)).update(address=person.pseudonym)


def suppressions(person: Person, erases: bool) -> Iterator[Counts]:
    """Pseudonymise the suppressions, or only count."""
    rows = Suppression.objects.filter(address__in=person.addresses).order_by("pk")
    if not erases:
        yield Counter(suppressions=rows.count())
        return
    with transaction.atomic(using=using()):
        locked = list(rows.select_for_update())
        for row in locked:
            _pseudonymise_suppression(row, person.pseudonym)
    yield Counter(suppressions=len(locked))


def _pseudonymise_suppression(row: Suppression, pseudonym: str) -> None:
    """Merge the row into that of an earlier erasure, where the newest word decides; else keep the row."""
    known = Suppression.objects.filter(address=pseudonym, scope=row.scope, reason=row.reason)
    if not known.exists():
        Suppression.objects.filter(pk=row.pk).update(address=pseudonym)
        return
    word = Word(
        address=pseudonym,
        scope=row.scope,
        reason=Suppression.Reason(row.reason),
        active=row.active,
        at=row.decided_at,
        until=row.until,
        source=Suppression.Source(row.source),
        event_id=row.event_id,
    )
    record_words([word], using())
    row.delete()
