"""The facts about paused accounts at SendGrid."""

from collections.abc import Iterator
from http import HTTPStatus

from events_app.shared.escaping import one_line, without_addresses
from events_app.shared.facts import DATABASE, Depth, Level, Reading, declare, source
from sending_app import account
from sending_app.models import OpenCircuit

PAUSED = declare(
    "account_paused", "Whether no mail of the mailer is posted for now: 1 or 0", labels=("mailer",)
)

#: Characters of SendGrid's words in a sentence.
MOST_WORDS = 200


def paused_accounts() -> "dict[str, OpenCircuit]":
    """The open circuits, by mailer. The row of a replaced key, which stays for a day, is left out."""
    circuits = {circuit.account: circuit for circuit in OpenCircuit.objects.all()}
    usable = {mailer.alias: mailer.fingerprint for mailer in account.usable()}
    return {alias: circuits[key] for alias, key in usable.items() if key in circuits}


@source(Depth.FIGURES, DATABASE)
def read_circuits() -> Iterator[Reading]:
    """Say which accounts are paused."""
    paused = paused_accounts()
    for mailer in account.usable():
        circuit = paused.get(mailer.alias)
        if circuit is None:
            yield PAUSED.read(0, mailer.alias)
            continue
        limited = circuit.status_code == HTTPStatus.TOO_MANY_REQUESTS
        answer = f"SendGrid answered {circuit.status_code}" if circuit.status_code else "SendGrid refused"
        reason = one_line(without_addresses(circuit.reason))[:MOST_WORDS]
        words = f" ({reason})" if reason else ""
        yield PAUSED.read(
            1,
            mailer.alias,
            level=Level.WARNING if limited else Level.ERROR,
            text=f"The mailer {one_line(mailer.alias)} is paused: {answer}{words}.",
            advice="SendGrid limits the rate. The mails leave later by themselves."
            if limited
            else "Give the mailer a key that works.",
            page=f"admin:sending_app_opencircuit_change {circuit.pk}",
        )
