"""Types of events and states of deliveries as coloured words."""

from events_app.dispatch.filters import State
from events_app.shared.admin.states import Tone, state_word

_TYPES = {
    "queued": Tone.WAIT,
    "sent": Tone.NOTE,
    "rejected": Tone.BAD,
    "failed": Tone.BAD,
    "bounced": Tone.BAD,
    "deferred": Tone.WARN,
    "delivered": Tone.GOOD,
    "autoresponded": Tone.NOTE,
    "opened": Tone.GOOD,
    "clicked": Tone.GOOD,
    "complained": Tone.BAD,
    "unsubscribed": Tone.WARN,
    "subscribed": Tone.GOOD,
}

_STATES = {
    State.PENDING: ("pending", Tone.WAIT),
    State.RETRYING: ("retrying", Tone.WARN),
    State.DEAD_LETTER: ("dead letter", Tone.BAD),
    State.DONE: ("done", Tone.GOOD),
}

#: The words of the states, by their values.
STATE_NAMES = {state.value: name for state, (name, _) in _STATES.items()}


def type_word(event_type: str) -> str:
    """The type of an event as a coloured word."""
    return state_word(event_type, _TYPES.get(event_type, Tone.NOTE))


def delivery_word(state: State) -> str:
    """The state of a delivery as a coloured word."""
    return state_word(*_STATES[state])
