"""The actions of the admin pages of mails, paused accounts and suppressed addresses."""

from django import forms

from events_app.shared.admin.actions import Action, Asked
from events_app.shared.changes import Change
from sending_app import changes

_SENT, _NOT_SENT = "sent", "not sent"


class _SettleForm(forms.Form):
    answer = forms.ChoiceField(
        label="Does SendGrid have these mails?",
        widget=forms.RadioSelect,
        choices=(
            (
                _SENT,
                "Yes. They are accepted, and never posted again. If SendGrid does not have them after all, "
                "they are lost.",
            ),
            (
                _NOT_SENT,
                "No. They are posted again now. If SendGrid has them after all, their recipients get them "
                "twice.",
            ),
        ),
    )


def _settle(asked: Asked) -> Change:
    return changes.settle(sent=asked.choices.get("answer", _SENT) == _SENT)


MAIL_ACTIONS = (
    Action(
        "retry",
        "Retry",
        "Failed mails, and waiting mails that are due later, are posted now.",
        lambda asked: changes.retry(with_refused=asked.by_id),
    ),
    Action(
        "cancel",
        "Cancel",
        "Waiting, unknown and parked mails are given up. SendGrid still sends a mail that it has.",
        lambda _: changes.cancel(),
    ),
    Action(
        "park",
        "Park",
        "Waiting and unknown mails are not posted until you settle them.",
        lambda _: changes.park(),
    ),
    Action(
        "settle",
        "Settle",
        "Say whether SendGrid has unknown and parked mails. First look at the mail's page, and at the page "
        "Activity of SendGrid, which may know the mail by its recipient.",
        _settle,
        _SettleForm,
    ),
    Action(
        "resend",
        "Send again",
        "A copy of each mail is sent now, with the same content, recipients, tags and metadata, as a new "
        "mail with new ids. The old mail stays.",
        lambda asked: changes.resend(asked.by_id, asked.confirmation),
    ),
)

CIRCUIT_ACTIONS = (
    Action(
        "probe",
        "Probe now",
        "A worker posts the next due mail of the account now. If SendGrid takes it, the pause ends.",
        lambda _: changes.probe(),
    ),
)

SUPPRESSION_ACTIONS = (
    Action(
        "remove",
        "Remove",
        "The suppressions end now: mail goes to the addresses again. A new bounce, complaint or unsubscribe "
        "suppresses an address anew.",
        lambda _: changes.remove_suppressions(),
    ),
)
