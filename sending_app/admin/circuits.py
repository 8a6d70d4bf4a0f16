"""The admin pages of open circuits: accounts to which nothing is posted for now."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.text import Truncator

from events_app.shared.admin.actions import Acting
from events_app.shared.admin.page import OwnPage
from events_app.shared.admin.states import Tone, state_word
from events_app.shared.admin.times import utc_time
from events_app.shared.escaping import one_line, without_addresses
from sending_app.admin.actions import CIRCUIT_ACTIONS
from sending_app.admin.viewer import MailViewer
from sending_app.models import OpenCircuit

_ADVICE = (
    "SendGrid refuses posts of this account, and its mails wait. When the pause ends, one mail is posted as "
    "a probe; if SendGrid takes the mail, the account goes on by itself. "
)
_REFUSED = "Mend the API key or its scopes in the settings, and restart the workers."


@admin.register(OpenCircuit)
class OpenCircuitAdmin(Acting, OwnPage):
    row_actions = CIRCUIT_ACTIONS
    command = "outbox"
    list_display = ("alias", "opened", "probe", "failures", "status_code", "why")
    change_form_template = "events_app/admin/row.html"

    def page_context(self, request: HttpRequest, row: OpenCircuit) -> dict[str, Any]:
        is_refused = row.status_code in (401, 403)
        return {
            "title": f"Paused account {row.alias}",
            "subtitle": None,
            "state": state_word("paused", Tone.BAD),
            "advice": _ADVICE + (_REFUSED if is_refused else ""),
            "error": MailViewer(request).text(row.reason),
            "facts": [
                ("Mailer", row.alias),
                ("Paused since", utc_time(row.opened_at)),
                ("Next probe", utc_time(row.probe_at)),
                ("Refused posts in a row", str(row.failures)),
                ("Answer", str(row.status_code or "none")),
            ],
        }

    @admin.display(description="Paused since", ordering="opened_at")
    def opened(self, circuit: OpenCircuit) -> str:
        return utc_time(circuit.opened_at)

    @admin.display(description="Next probe", ordering="probe_at")
    def probe(self, circuit: OpenCircuit) -> str:
        return utc_time(circuit.probe_at)

    @admin.display(description="Why")
    def why(self, circuit: OpenCircuit) -> str:
        return Truncator(one_line(without_addresses(circuit.reason))).chars(200)
