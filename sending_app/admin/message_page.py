"""The page of a message: mails by state, and recipients by status."""

from collections.abc import Iterator
from typing import Any

from django.db.models import Count
from django.utils.text import Truncator

from events_app.shared.admin.links import link_to
from events_app.shared.admin.times import utc_time
from sending_app.admin import words
from sending_app.admin.counts import Counts, counts_by_mail
from sending_app.admin.viewer import MailViewer
from sending_app.models import OutboxMessage

#: Most mails on the page.
MOST = 50

#: Most mails whose recipients are counted: up to 200,000 recipients.
MOST_COUNTED = 200


def message_context(message: OutboxMessage, viewer: MailViewer) -> dict[str, Any]:
    """The variables of the template."""
    states = dict(message.mails.order_by("state").values_list("state").annotate(Count("pk")))
    subject = viewer.text(message.subject)
    total = sum(states.values())
    return {
        "title": f"Message {message.pk}: {subject}" if subject else f"Message {message.pk}",
        "subtitle": None,
        "facts": [
            ("Mailer", message.alias),
            ("Created", utc_time(message.created_at)),
            ("Mails", _listed((words.STATE_NAMES[state], number) for state, number in states.items())),
            (f"Recipients of {_first_mails(total)}", _recipients(message)),
        ],
        "mails": list(_mails(message, viewer)),
        "total": total,
    }


def _first_mails(total: int) -> str:
    return f"the first {MOST_COUNTED} mails" if total > MOST_COUNTED else "all mails"


def _recipients(message: OutboxMessage) -> str:
    rows = message.mails.order_by("pk").values_list("pk", "accepted_at")[:MOST_COUNTED]
    accepted = {pk: at is not None for pk, at in rows}
    numbers: dict[str, int] = {}
    for pk, counts in sorted(counts_by_mail(accepted).items()):
        for word, number in counts.numbers(accepted[pk]):
            numbers[word] = numbers.get(word, 0) + number
    return _listed(numbers.items())


def _mails(message: OutboxMessage, viewer: MailViewer) -> Iterator[tuple[str, str, str, str]]:
    """Link, state, numbers of recipients, and error of the first mails."""
    rows = list(message.mails.order_by("pk").defer("personalizations", "log")[:MOST])
    counts = counts_by_mail(mail.pk for mail in rows)
    for mail in rows:
        of_mail = counts.get(mail.pk, Counts())
        numbers = _listed(of_mail.numbers(mail.accepted_at is not None))
        why = Truncator(viewer.text(mail.error)).chars(200)
        yield link_to(mail, f"mail {mail.pk}"), words.shown_state(mail, of_mail), numbers, why


def _listed(numbers: Any) -> str:
    return ", ".join(f"{number} {word}" for word, number in numbers)
