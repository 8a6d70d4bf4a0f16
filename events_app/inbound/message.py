"""The object receivers get for an inbound mail."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from email.headerregistry import Address
from email.policy import Policy
from email.utils import parsedate_to_datetime, parsedate_tz
from itertools import islice

from celery.exceptions import SoftTimeLimitExceeded

from events_app.inbound.bodies import Contents, joined
from events_app.inbound.construct import ConstructibleMessage
from events_app.inbound.text import domains, flowed, headers, quotes
from events_app.inbound.text.addresses import MOST_ADDRESSES, read_addresses
from events_app.inbound.text.encoded_words import decode_words, one_line
from events_app.shared.database import clean

__all__ = [
    "AnymailInboundMessage",
    "InboundMessage",
]

# A folded id has spaces: some mail programs break a long id at any place.
_MESSAGE_ID = re.compile(r"<(?:[^<>\s]++|[^<>@]*@[^<>]*)>")
_ID_WITHOUT_BRACKETS = re.compile(r"[^\s@<>,]+@[^\s@<>,]+")
_SPACE = re.compile(r"\s+")


class InboundMessage(ConstructibleMessage):
    """A mail, or a part of a mail.

    Names and attributes are as in django-anymail's normalized inbound message, so receivers written for
    Anymail run unchanged. No attribute raises on malformed mail, and any database accepts the text.
    """

    #: The sender in the envelope; "" for delivery reports, None if SendGrid named no sender.
    envelope_sender: str | None = None
    #: Whether the mail is spam: by SendGrid's report, else by the mail's headers, which any sender can write.
    #: None without both.
    spam_detected: bool | None = None
    #: SendGrid's score; None without a spam check.
    spam_score: float | None = None
    #: SendGrid's SPF result, such as "pass".
    spf: str | None = None
    #: The IP address of the server that delivered the mail to SendGrid.
    sender_ip: str | None = None

    def __init__(self, policy: Policy | None = None) -> None:
        super().__init__(policy)
        #: The recipients in the envelope.
        self.envelope_recipients: list[str] = []
        #: SendGrid's DKIM result for each signing domain: "pass" if one of the domain's signatures passed.
        self.dkim: dict[str, str] = {}

    @property
    def envelope_recipient(self) -> str | None:
        """The first of `envelope_recipients`. A set address becomes the only recipient."""
        return next(iter(self.envelope_recipients), None)

    @envelope_recipient.setter
    def envelope_recipient(self, address: str | None) -> None:
        self.envelope_recipients = [] if address is None else [address]

    # --- Headers ---

    @property
    def from_email(self) -> Address | None:
        """The first address in From with a domain, else the first; may be forged: see `from_is_aligned`.

        The sender chose `display_name`. The text may look like the address of another person.
        """
        first = None
        for author in islice(read_addresses(headers.sources(self, "From")), MOST_ADDRESSES):
            if author.domain:
                return author
            first = first or author
        return first

    @property
    def from_is_aligned(self) -> bool | None:
        """Whether SPF or DKIM passed for the domain of `from_email`; None if SendGrid posted no result.

        The domain that passed must be the domain in From, or a domain above it: a domain in `dkim` with
        "pass", or the domain of `envelope_sender` when `spf` is "pass". DMARC's relaxed alignment (RFC 7489,
        3.1) also accepts a domain below. Without a list of public suffixes, evil.co.uk would speak for co.uk,
        so a domain below is not accepted here. The domain's DMARC policy is not read. Always False unless
        From is a single header with a single address.

        True means that a server of this domain, or of a domain above it, sent the mail; any user of the
        domain may have written it. True rests on SendGrid's fields. SendGrid writes the domain of a signature
        without quotes: the results of a signer whose "domain" itself has the syntax of the field cannot be
        told from results of other domains.
        False proves no forgery: forwarding and mailing lists break SPF and DKIM.
        """
        if self.spf is None and not self.dkim:
            return None
        sources = list(headers.sources(self, "From"))
        authors = list(islice(read_addresses(sources), 2))
        if len(sources) != 1 or len(authors) != 1:
            return False
        passed = [domain for domain, dkim_result in self.dkim.items() if dkim_result.lower() == "pass"]
        if (self.spf or "").lower() == "pass":
            _, at, domain = (self.envelope_sender or "").rpartition("@")
            passed.append(domain if at else "")
        return any(domains.is_same_or_above(domain, authors[0].domain) for domain in passed)

    @property
    def to(self) -> list[Address]:
        """The addresses in To."""
        return self.get_address_header("To")

    @property
    def cc(self) -> list[Address]:
        """The addresses in Cc."""
        return self.get_address_header("Cc")

    @property
    def bcc(self) -> list[Address]:
        """The addresses in Bcc, a rare header. For blind copies see `envelope_recipients`."""
        return self.get_address_header("Bcc")

    @property
    def subject(self) -> str | None:
        """The subject on one line; None without the header."""
        subject = self["Subject"]
        return None if subject is None else one_line(str(subject))

    @property
    def date(self) -> datetime | None:
        """The time in Date, in the header's time zone, else in UTC."""
        return self.get_date_header("Date")

    @property
    def message_id(self) -> str | None:
        """The message id in Message-ID, with <>, else the header's text; None for a missing or empty header.

        The sender has chosen the text.
        """
        text = decode_words(next(headers.sources(self, "Message-ID"), ""))
        return next(iter(_message_ids(text)), text) or None

    @property
    def in_reply_to(self) -> list[str]:
        """The message ids in In-Reply-To, with <>."""
        return self._message_ids("In-Reply-To")

    @property
    def references(self) -> list[str]:
        """The message ids in References, with <>: the oldest first."""
        return self._message_ids("References")

    def get_address_header(self, header: str) -> list[Address]:
        """The first `MOST_ADDRESSES` addresses in the headers of this name."""
        return list(islice(read_addresses(headers.sources(self, header)), MOST_ADDRESSES))

    def get_date_header(self, header: str) -> datetime | None:
        """The time in a header; None for a missing or malformed header."""
        text = str(self[header]) if header in self else ""
        for read in (parsedate_to_datetime, _normalized_date, datetime.fromisoformat):
            try:
                time = read(text)
                time.utcoffset()
            except (ValueError, TypeError, IndexError, OverflowError):
                continue
            return time if time.tzinfo else time.replace(tzinfo=UTC)
        return None

    def _message_ids(self, header: str) -> list[str]:
        texts = map(decode_words, headers.sources(self, header))
        return [message_id for text in texts for message_id in _message_ids(text)]

    # --- Bodies ---

    @property
    def text(self) -> str | None:
        """The plain text outside attachments and attached mails; None without such a part.

        Consecutive bodies are joined: the text above and below a picture, a body and a mailing list's footer.
        The lines of a flowed text (RFC 3676) are joined to paragraphs.
        """
        bodies = Contents(self).text
        lines_left = flowed.MOST_LINES
        texts = []
        for body in bodies:
            text = body.get_content_text()
            if str(body.get_param("format", "")).strip().lower() == "flowed":
                lines_left -= text.count("\n") + text.count("\r")
                if lines_left >= 0:
                    delete_space = str(body.get_param("delsp", "")).strip().lower() == "yes"
                    text = flowed.unflowed(text, delete_space=delete_space)
            texts.append(text)
        return joined(texts) if bodies else None

    @property
    def html(self) -> str | None:
        """The HTML outside attachments and attached mails; None without such a part. Do not trust it.

        Consecutive bodies are joined, as in `text`.
        """
        bodies = Contents(self).html
        return joined([body.get_content_text() for body in bodies]) if bodies else None

    @property
    def stripped_text(self) -> str | None:
        """The new words in `text`: without the quoted or forwarded mail. SendGrid posts no stripped text.

        The words above and below a quoted mail stay, and answers between quoted lines with these lines. The
        line "On ... wrote:" and the headers above a quoted mail are left out, in some thirty languages, if
        they are in the first 1,000 lines. Signatures stay. A text without a quote is unchanged; "" means that
        the whole text is quoted. A quoted mail without ">" goes on to the end of the text.
        """
        return _stripped(quotes.without_quotes, self.text)

    @property
    def stripped_html(self) -> str | None:
        """The new words in `html`, by the rule of `stripped_text`. The markup of these words is unchanged.

        The elements count, too, in which mail programs put a quoted mail. HTML over a million characters or
        50,000 tags is unchanged.
        """
        return _stripped(quotes.without_quotes_html, self.html)

    # --- Parts ---

    @property
    def attachments(self) -> list["InboundMessage"]:
        """The files that the HTML does not show, in order.

        A part without a Content-Disposition counts too: an invitation, the parts of a delivery report.
        An attached mail counts once; its own attachments belong to its own message.
        """
        return Contents(self).files(inline=False)

    @property
    def inlines(self) -> list["InboundMessage"]:
        """The files that the HTML shows, such as images, in order: a `cid:` URL names their content id.

        Content-Disposition does not matter: a post of parsed mode has no dispositions, and mail programs
        write "inline" for files that no text shows.
        """
        return Contents(self).files(inline=True)

    @property
    def content_id_map(self) -> dict[str, "InboundMessage"]:
        """The inlines by content id without <>; of duplicates, the last."""
        return {content_id: inline for inline in self.inlines if (content_id := inline.content_id)}

    @property
    def inline_attachments(self) -> dict[str, "InboundMessage"]:
        """The older name of `content_id_map`."""
        return self.content_id_map


def _message_ids(text: str) -> list[str]:
    """The message ids in a header's text, with <>.

    Ids without <> count in a text of only such ids.
    """
    ids = [_SPACE.sub("", message_id) for message_id in _MESSAGE_ID.findall(text)]
    words = text.replace(",", " ").split()
    if not ids and all(map(_ID_WITHOUT_BRACKETS.fullmatch, words)):
        return [f"<{word}>" for word in words]
    return ids


def _normalized_date(text: str) -> datetime:
    """The time in a header with a leap second, or with 24 hours. Raises ValueError and TypeError."""
    numbers = parsedate_tz(text)
    if numbers is None:
        raise ValueError
    year, month, day, hour, minute, second, *_, offset = numbers
    time = timedelta(hours=hour, minutes=minute, seconds=second)
    if time > timedelta(days=1) or minute > 59 or second > 60:
        raise ValueError
    return datetime(year, month, day, tzinfo=timezone(timedelta(seconds=offset or 0))) + time


#: Anymail's name for the same class.
AnymailInboundMessage = InboundMessage


def _stripped(strip: Callable[[str], str], text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return clean(strip(text))
    except SoftTimeLimitExceeded:
        raise
    except Exception:  # noqa: BLE001 (a fault in a rule must not hide the text)
        return text.rstrip()
