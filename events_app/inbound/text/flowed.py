"""Plain text of format=flowed (RFC 3676) as a person reads it: paragraphs in place of wrapped lines."""

import re

#: The most lines of all flowed texts of a mail to be joined: half a second of CPU time.
MOST_LINES = 500_000

# The marks of the quote's depth, a space that keeps marks and text apart, the text, the line's end. Alpine
# writes spaces between the marks.
_LINE = re.compile(r"((?:>(?: (?=>))?)*+) ?([^\r\n]*+)(\r\n|\r|\n|\Z)")

_SIGNATURE = "-- "


def unflowed(text: str, *, delete_space: bool = False) -> str:
    """The text with each paragraph on one line. Quotes keep their depth, a signature and an empty line their
    own line.

    `delete_space` is the parameter DelSp=yes: the space at a line's end is not a space between words.
    """
    pieces: list[str] = []
    paragraph: tuple[int, str] | None = None  # the depth and the line end of the paragraph that goes on
    for line in _LINE.finditer(text):
        marks, content, line_end = line.groups()
        depth = marks.count(">")
        if paragraph and not (paragraph[0] == depth and content and content != _SIGNATURE):
            pieces.append(paragraph[1])
            paragraph = None
        if not paragraph:
            pieces.append(f"{marks} " if marks and content else marks)
        if content.endswith(" ") and content != _SIGNATURE and line_end:
            pieces.append(content[:-1] if delete_space else content)
            paragraph = depth, line_end
        else:
            pieces += content, line_end
            paragraph = None
    return "".join(pieces)
