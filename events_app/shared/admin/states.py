"""States as coloured words."""

from enum import StrEnum

from django.utils.html import format_html

#: The style sheet with the colours, as a path of static files.
STYLE_SHEET = "events_app/operator.css"


class Tone(StrEnum):
    """The meaning of a state's colour. The word alone also tells the state."""

    GOOD = "good"
    WAIT = "wait"
    NOTE = "note"
    WARN = "warn"
    BAD = "bad"


def state_word(word: str, tone: Tone) -> str:
    """The word in its colour, as HTML."""
    return format_html('<span class="state state-{}">{}</span>', tone.value, word)
