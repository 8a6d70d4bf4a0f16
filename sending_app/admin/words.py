"""The states of mails and recipients in words for people, and the advice to each state."""

from django.utils.html import format_html_join

from events_app.shared.admin.states import Tone, state_word
from sending_app.admin.counts import Counts
from sending_app.models import Mail

State = Mail.State

#: The words of mails that are not accepted.
_BEFORE_ACCEPTANCE = {
    State.WAITING: ("waiting", Tone.WAIT),
    State.POSTING: ("sending", Tone.NOTE),
    State.FAILED: ("failed", Tone.BAD),
    State.UNKNOWN: ("unknown", Tone.WARN),
    State.PARKED: ("parked", Tone.WARN),
    State.CANCELLED: ("cancelled", Tone.WAIT),
    State.REJECTED: ("suppressed", Tone.WARN),
}

#: The words of the states of a mail, by value. On its page an accepted mail has the word of its outcome.
STATE_NAMES = {state.value: word for state, (word, _) in _BEFORE_ACCEPTANCE.items()} | {
    State.ACCEPTED.value: "accepted"
}

#: The words of the lanes, by their values.
LANE_NAMES = {Mail.Lane.MAIL.value: "transactional", Mail.Lane.BULK.value: "bulk"}

_TONES = {
    "waiting": Tone.WAIT,
    "sent": Tone.NOTE,
    "delivered": Tone.GOOD,
    "deferred": Tone.WARN,
    "bounced": Tone.BAD,
    "rejected": Tone.BAD,
    "failed": Tone.BAD,
}

#: The statuses of recipients that decide the word of an accepted mail, the worst first.
_WORST_FIRST = ("bounced", "rejected", "deferred")

ADVICE = {
    "waiting": "Nothing to do: a worker posts the mail when the mail is due.",
    "sending": "Nothing to do: a worker is posting the mail now.",
    "sent": "Nothing to do: SendGrid has the mail, and no receiving server has answered yet.",
    "delivered": "Nothing to do: the receiving server took the mail. If the recipient misses the mail, "
    "ask the recipient to look in the spam folder.",
    "deferred": "Nothing to do: the receiving server put the mail off. SendGrid tries again for three days.",
    "bounced": "The receiving server refused the mail. The timeline has the reason of the server. "
    "Ask the person for another address, or mend the reason and send the mail again.",
    "rejected": "SendGrid did not send the mail: the address is on a suppression list, or invalid. "
    "Remove the address from the list at SendGrid, then send the mail again.",
    "suppressed": "The mail was not sent: every recipient is suppressed. If the address is right and the "
    "person wants mail, end the suppression, then retry the mail.",
    "failed": "The mail was not sent. Mend the cause below, then retry the mail.",
    "unknown": "Nothing to do yet: SendGrid may have the mail, and the events of the next minutes decide.",
    "parked": "A person decides: look for the recipient in the Activity Feed of SendGrid, "
    "then settle the mail as sent or as not sent.",
    "cancelled": "An operator cancelled the mail. Nothing more happens.",
}


def outcome_word(mail: Mail, counts: Counts) -> str:
    """The word of the mail's state. An accepted mail is as the worst of its recipients."""
    if mail.state != State.ACCEPTED:
        return _BEFORE_ACCEPTANCE[State(mail.state)][0]
    for word in _WORST_FIRST:
        if counts.by_status.get(word):
            return word
    return "delivered" if counts.total and counts.by_status.get("delivered") == counts.total else "sent"


def shown_state(mail: Mail, counts: Counts) -> str:
    """The mail's state as coloured words, as HTML."""
    word = outcome_word(mail, counts)
    tone = _TONES[word] if mail.state == State.ACCEPTED else _BEFORE_ACCEPTANCE[State(mail.state)][1]
    number = counts.by_status.get(word, 0)
    of_total = f" {number} of {counts.total}" if 0 < number < counts.total else ""
    words = [(state_word(word, tone), of_total)]
    if counts.complained:
        words.append((state_word("complained", Tone.BAD), ""))
    if mail.sent_twice:
        words.append((state_word("sent twice", Tone.WARN), ""))
    return format_html_join(" ", "{}{}", words)


def status_word(status: str, accepted: bool, reject_reason: str = "") -> str:
    """The status of a recipient as a coloured word, with its reason, as HTML.

    `accepted`: SendGrid has the mail.
    """
    word = ("sent" if accepted else "waiting") if status == "queued" else status
    says_more = reject_reason and reject_reason != word
    return state_word(f"{word}: {reject_reason}" if says_more else word, _TONES.get(word, Tone.NOTE))
