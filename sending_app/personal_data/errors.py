"""Forget a person in SendGrid's words: the errors and logs of mails, and the reasons of paused accounts."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import transaction

from events_app.shared.database import slices
from events_app.shared.personal_data.person import Person
from events_app.shared.personal_data.registry import Counts
from sending_app.models import Mail, OpenCircuit
from sending_app.outbox import using

#: Mails that one step looks at.
SLICE = 1000

REDACTED = "texts"
#: A worker would write the log again.
POSTING = "mails left alone because a worker posts them: run again"


def errors_of_mails(person: Person, erases: bool) -> Iterator[Counts]:
    """Replace the address in errors and logs, or only count, and yield the counts of each slice."""
    for mails in slices(Mail.objects.exclude(error="", log=[]).only("state", "error", "log"), SLICE):
        mentioning = [mail for mail in mails if _changes(person, mail)]
        yield _redact(person, [mail.pk for mail in mentioning]) if erases else _counted(mentioning)


def _counted(mails: Sequence[Mail]) -> Counts:
    return Counter(POSTING if mail.state == Mail.State.POSTING else REDACTED for mail in mails)


def _redact(person: Person, pks: Sequence[int]) -> Counts:
    with transaction.atomic(using=using()):
        # Anew, and locked: a worker may have written another error, or a further entry.
        rows = Mail.objects.filter(pk__in=pks).only("state", "error", "log").order_by("pk")
        changes = {mail: _changes(person, mail) for mail in rows.select_for_update()} if pks else {}
        mails = [mail for mail, changed in changes.items() if changed]
        for mail in mails:
            if mail.state != Mail.State.POSTING:
                Mail.objects.filter(pk=mail.pk).update(**changes[mail])
    return _counted(mails)


def _changes(person: Person, mail: Mail) -> dict[str, Any]:
    error = person.redact(mail.error)
    log = json.loads(person.redact(json.dumps(mail.log, ensure_ascii=False)))
    return {} if (error, log) == (mail.error, mail.log) else {"error": error, "log": log}


def reasons_of_pauses(person: Person, erases: bool) -> Iterator[Counts]:
    """Replace the address in the reasons of paused accounts, or only count."""
    counts: Counts = Counter()
    for circuit in OpenCircuit.objects.all():
        reason = person.redact(circuit.reason)
        if reason != circuit.reason:
            counts[REDACTED] += 1
            if erases:
                # A worker may have paused the account anew.
                same = OpenCircuit.objects.filter(pk=circuit.pk, reason=circuit.reason)
                same.update(reason=reason)
    yield counts
