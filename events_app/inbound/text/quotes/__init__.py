"""The words of a reply without the quoted mail."""

from events_app.inbound.text.quotes.html import MOST_HTML, MOST_TAGS, without_quotes_html
from events_app.inbound.text.quotes.plain import MOST_QUOTED_LINES, without_quotes
from events_app.inbound.text.quotes.reply import MOST_LINES

__all__ = [
    "MOST_HTML",
    "MOST_LINES",
    "MOST_QUOTED_LINES",
    "MOST_TAGS",
    "without_quotes",
    "without_quotes_html",
]
