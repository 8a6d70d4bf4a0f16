"""Replies that are not read as a person reads these. The reasons say why."""

import pytest

from events_app.inbound.text.quotes import without_quotes

INTRO = "On Thu, 12 Feb 2026 at 13:40, Zoë Customer <zoe@example.org> wrote:"
HEADERS = "From: zoe@example.org\nTo: desk@example.com\nDate: 12 Feb 2026 13:40\nSubject: Order"

#: The text, the new words, and the reason.
FAILURES = {
    "unmarked words below": (
        f"{INTRO}\n\nDoes Thursday work?\n\nYes.",
        "Yes.",
        "no mark parts the quoted words from the new words",
    ),
    "a wrapped quote": (
        f"{INTRO}\n> Does Thursday work, or another day at the end\nof the week?\n> Zoë\n\nYes.",
        "Yes.",
        "a wrapped line without a mark is like an answer between quoted lines",
    ),
    "a name without an address": (
        "Yes.\n\n2026-02-12 13:40 GMT+01:00 Zoë Customer\n\nDoes Thursday work?",
        "Yes.",
        "a time and a name can be the first line of a writer's note",
    ),
    "you wrote": (
        "Yes.\n\nOn 12 February you wrote:\n\nDoes Thursday work?",
        "Yes.",
        "a writer's own words have the same form",
    ),
    "a date without a time": (
        "Yes.\n\nAm 12. Februar 2026 schrieb Zoë Customer:\n\nDoes Thursday work?",
        "Yes.",
        "a writer's own words have the same form",
    ),
    "a phrase without a line": (
        "Yes.\n\nOriginal message:\n\nDoes Thursday work?",
        "Yes.",
        "a writer's own words have the same form",
    ),
    "headers without a time": (
        "Yes.\n\nFrom: Zoë <zoe@example.org>\nTo: Desk\nSubject: Order\n\nDoes Thursday work?",
        "Yes.",
        "a form has the same headers",
    ),
    "a signature directly above headers": (
        f"Yes.\nTel: 030 123\n{HEADERS}\n\nDoes Thursday work?",
        "Yes.\nTel: 030 123",
        "a form has such lines above its headers",
    ),
    "a time and a name in the writer's words": (
        "The delay:\n\nOn 12 Feb 2026 at 13:40 Example Support wrote:\nno pumps.\n\nPlease cancel.",
        "The delay:\n\nOn 12 Feb 2026 at 13:40 Example Support wrote:\nno pumps.\n\nPlease cancel.",
        "mail programs write the same line",
    ),
    "headers and a form's line": (
        f"Yes.\n\n{HEADERS}\nNote: does Thursday work?",
        "Yes.",
        "a form has the same lines",
    ),
    "an empty line in the attribution": (
        "Yes.\n\nOn Thu, 12 Feb 2026 at 13:40 Zoë\n\n<zoe@example.org> wrote:\n\nDoes Thursday work?",
        "Yes.",
        "an empty line ends the attribution",
    ),
    "a language without a table": (
        "Jes.\n\nJe la 12-a de februaro 2026, 13:40, Zoë Customer skribis:\n\nDoes Thursday work?",
        "Jes.",
        "the verb is unknown",
    ),
    "headers in the writer's words": (
        f"The mail came back:\n{HEADERS}\n\nWhat is wrong?",
        f"The mail came back:\n{HEADERS}\n\nWhat is wrong?",
        "the headers are like the headers above a quoted mail, which goes on to the end",
    ),
}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(text, words, id=name, marks=pytest.mark.xfail(reason=reason, strict=True))
        for name, (text, words, reason) in FAILURES.items()
    ],
)
def test_new_words(text: str, words: str) -> None:
    assert without_quotes(text) == words


@pytest.mark.parametrize(("text", "words"), [case[:2] for case in FAILURES.values()], ids=FAILURES)
def test_failures_leave_new_words(text: str, words: str) -> None:
    stripped = without_quotes(text)
    assert words.partition("\n")[0] in stripped
