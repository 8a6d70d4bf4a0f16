"""What a reply says itself, without the mail it quotes."""

import quotequail

#: Lines in which a quote is looked for. Most replies stand above what they quote.
MOST_LINES = 1000

# A line longer than this introduces no quote, and each is tried with some thirty expressions.
_LONGEST_LINE = 500

#: Characters of HTML that are read.
MOST_HTML = 1_000_000


def without_quotes(text: str) -> str:
    """`text` as far as the line that introduces a quoted or forwarded mail, without ">" lines at its end.

    Answers between quoted lines stay, with these. "" where the quote comes first.
    """
    lines = text.split("\n", MOST_LINES)[:MOST_LINES]
    looked_at = [line[:_LONGEST_LINE].rstrip("\r") for line in lines]
    parts = quotequail.quote("\n".join(looked_at), limit=MOST_LINES + 1, quote_intro_line=True)
    if len(parts) > 1:
        own = str(parts[0][1])
        text = "\n".join(lines[: own.count("\n") + 1]) if own else ""
    return text[: _end_of_answers(text)].rstrip()


def _end_of_answers(text: str) -> int:
    """Where the lines begin that are all empty or quoted."""
    end = len(text)
    while end > 0:
        start = text.rfind("\n", 0, end) + 1
        line = text[start:end]
        if line.strip() and not line.startswith(">"):
            break
        end = max(start - 1, 0)
    return end


def without_quotes_html(html: str) -> str:
    """`html` as far as what introduces a quoted or forwarded mail; as it is where that is not found.

    Of HTML with a quote the markup is written anew.
    """
    if len(html) > MOST_HTML:
        return html.rstrip()
    parts = quotequail.quote_html(html, limit=MOST_LINES, quote_intro_line=True)
    own = str(parts[0][1])
    # At the limit it cuts as if there were a quote. What it cut at a quote it does not cut again.
    if len(parts) == 1 or len(quotequail.quote_html(own, limit=MOST_LINES - 1, quote_intro_line=True)) > 1:
        return html.rstrip()
    return own.rstrip()
