"""The lines that introduce a quoted mail."""

from collections.abc import Sequence
from typing import NamedTuple

from events_app.inbound.text.quotes.attributions import attribution_begin, attribution_begins
from events_app.inbound.text.quotes.header_blocks import block_end, is_rule, phrase_end
from events_app.inbound.text.quotes.line import Line


class Introduction(NamedTuple):
    """The lines from `begin` up to `end`, above a quoted mail.

    `begin` and `end` are the first quoted line if this line is an attribution in itself.
    """

    begin: int
    end: int
    #: The lines are an attribution, without a mark. A writer's own words can have the same form.
    attribution: bool = False


def find_introduction(lines: Sequence[Line], begin: int, end: int) -> Introduction | None:
    """The first introduction among the lines from `begin` up to `end`."""
    for at in range(begin, end):
        line = lines[at]
        if line.introduces:
            after = at
            while after < end and lines[after].introduces and not lines[after].quoted:
                after += 1
            return Introduction(_with_rule(lines, begin, at), after)
        if line.quoted:
            # Apple Mail on iOS quotes the attribution, too.
            if (at == begin or not lines[at - 1].quoted) and attribution_begins(lines[at:end]):
                return Introduction(at, at)
        elif line.text:
            if headers := phrase_end(lines, at) or block_end(lines, at):
                return Introduction(_with_rule(lines, begin, at), headers)
            first = attribution_begin(lines, begin, at)
            if first is not None:
                return Introduction(_with_rule(lines, begin, first), at + 1, attribution=True)
    return None


def _with_rule(lines: Sequence[Line], begin: int, at: int) -> int:
    """The line with a rule directly above line `at`, or above empty lines; else `at`."""
    above = at - 1
    while above >= begin and not lines[above].text and not lines[above].quoted:
        above -= 1
    return above if above >= begin and not lines[above].quoted and is_rule(lines[above].text) else at
