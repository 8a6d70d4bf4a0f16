"""Forget a person in SendGrid's words: the errors and logs of mails, and the reasons of paused accounts."""

import json
from collections import Counter
from collections.abc import Iterator

from events_app.shared.database import slices
from events_app.shared.personal_data.person import Person
from events_app.shared.personal_data.registry import Counts
from sending_app.models import Mail, OpenCircuit

#: Mails that one step looks at.
SLICE = 1000

REDACTED = "texts"
#: A worker would write the log again.
POSTING = "mails left alone because a worker posts them: run again"


def errors_of_mails(person: Person, erases: bool) -> Iterator[Counts]:
    """Replace the address in errors and logs, or only count, and yield the counts of each slice."""
    for mails in slices(Mail.objects.exclude(error="", log=[]).only("state", "error", "log"), SLICE):
        counts: Counts = Counter()
        for mail in mails:
            error = person.redact(mail.error)
            log = json.loads(person.redact(json.dumps(mail.log, ensure_ascii=False)))
            if (error, log) == (mail.error, mail.log):
                continue
            rest = Mail.objects.filter(pk=mail.pk).exclude(state=Mail.State.POSTING)
            is_done = rest.update(error=error, log=log) if erases else rest.exists()
            counts[REDACTED if is_done else POSTING] += 1
        yield counts


def reasons_of_pauses(person: Person, erases: bool) -> Iterator[Counts]:
    """Replace the address in the reasons of paused accounts, or only count."""
    counts: Counts = Counter()
    for circuit in OpenCircuit.objects.all():
        reason = person.redact(circuit.reason)
        if reason != circuit.reason:
            counts[REDACTED] += 1
            if erases:
                OpenCircuit.objects.filter(pk=circuit.pk).update(reason=reason)
    yield counts
