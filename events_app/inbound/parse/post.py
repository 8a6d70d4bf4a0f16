"""A posted form -> the mail, the plain fields, and the key shared by duplicate posts of a mail."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from json import dumps

from events_app.decode import Unreadable
from events_app.inbound.message import InboundMessage
from events_app.inbound.mime.tree import read_source
from events_app.inbound.parse.fields_mode import rebuild_mail
from events_app.inbound.parse.form import SOURCES, Fields, Form, json_object
from events_app.inbound.text.addresses import MOST_ADDRESSES, read_addresses
from events_app.inbound.text.encoded_words import one_line

#: The fields of the mail itself, without SendGrid's checks (SPF, dkim, spam, sender_ip): their results may
#: differ in a duplicate post.
_CONTENT = (*SOURCES, "headers", "from", "to", "cc", "subject", "text", "html")
_CONTENT_OBJECTS = ("attachment-info", "content-ids", "charsets", "envelope")

# "{@example.org : pass, @example.com : fail}", which only looks like JSON. A signer chooses the text between
# "@" and ":", so a field with any other character has no result.
_DKIM_RESULT = r"\s*+@?([\w.-]++)\s*+:\s*+([A-Za-z]++)\s*+"
_DKIM = re.compile(rf"\s*+\{{{_DKIM_RESULT}(?:,{_DKIM_RESULT})*+\}}\s*+")
_DKIM_RESULTS = re.compile(_DKIM_RESULT)

#: The most characters of the field `dkim`: a longer field has no result.
_LONGEST_DKIM = 10_000

# "Content analysis details:   (0.9 points, 5.0 required)", as SpamAssassin writes it.
_SPAM_DETAILS = re.compile(r"\(\s*(-?\d{1,6}(?:\.\d{1,6})?) points?, \s*(-?\d{1,6}(?:\.\d{1,6})?) required\)")

#: The most characters of a report to search; the points come first.
_LONGEST_SPAM_REPORT = 100_000


@dataclass(frozen=True, slots=True)
class ParsedPost:
    """The content of a post of Inbound Parse."""

    message: InboundMessage
    #: The fields as text for a JSON column, without the mail's source.
    fields: dict[str, str]
    #: 16 bytes, the same in duplicate posts of a mail.
    key: bytes


def read_post(form: Form) -> ParsedPost:
    """The mail in the form, in raw or parsed mode; raises `events_app.decode.Unreadable`."""
    fields = Fields(form)
    try:
        message = _message(form, fields)
    except (RecursionError, MemoryError):
        message = None
    # Raised outside the handler: the caught error holds the mail and would become the context of ours.
    if message is None:
        raise Unreadable("The mail takes more memory, or nests deeper, than can be read.")
    _set_envelope(message, fields)
    message.spf = fields.line("SPF")
    message.sender_ip = fields.line("sender_ip")
    dkim = fields.get("dkim", "")
    is_readable = len(dkim) <= _LONGEST_DKIM and _DKIM.fullmatch(dkim)
    for domain, dkim_result in _DKIM_RESULTS.findall(dkim) if is_readable else ():
        # Of several signatures of a domain, a passed signature suffices for DMARC (RFC 7489, 3.1.1).
        if domain not in message.dkim or dkim_result.lower() == "pass":
            message.dkim[domain] = dkim_result
    message.spam_score = spam_score(fields.get("spam_score"))
    headers = (str(message.get(name, "")) for name in ("X-Spam-Flag", "X-Spam-Status"))
    message.spam_detected = spam_detected(fields.get("spam_report"), *headers)
    return ParsedPost(message, dict(fields), mail_key(form))


def _message(form: Form, fields: Fields) -> InboundMessage:
    for name in SOURCES:
        if form.fields.get(name):
            return read_source(form.fields[name], InboundMessage)
    if "headers" in form.fields:  # in tests of projects often empty
        return rebuild_mail(form, fields)
    raise Unreadable(
        "The form has neither the field email nor the field headers: is it a post of Inbound Parse?"
    )


def _set_envelope(message: InboundMessage, fields: Fields) -> None:
    # A list with a single recipient is documented; longer lists and plain text occur.
    envelope = fields.object("envelope")
    to = envelope.get("to")
    recipients = to if isinstance(to, list) else [to]
    message.envelope_recipients = [
        address
        for recipient in recipients
        if isinstance(recipient, str)
        for address in _envelope_addresses(recipient)
    ]
    sender = envelope.get("from")
    if sender is None and "from" in envelope:
        sender = ""
    if isinstance(sender, str):
        message.envelope_sender = next(iter(_envelope_addresses(sender)), "")


def _envelope_addresses(text: str) -> list[str]:
    """The addresses in a text of the envelope: usually a single address without brackets, left as it is."""
    line = one_line(text).strip("<> ")
    if re.search("[<>,;]", line):
        addresses = list(islice(read_addresses([line]), MOST_ADDRESSES))
        if addresses and all(address.domain for address in addresses):
            return [address.addr_spec for address in addresses]
    return [line] if line else []


def mail_key(form: Form) -> bytes:
    """A digest equal for duplicate posts of a mail, and different for any other mail or envelope.

    SendGrid gives a post no id and may order a duplicate's parts differently. So the digest covers the mail's
    source or fields (with Message-ID), its files and its envelope, in a fixed order.
    """
    digest = blake2b(digest_size=16, person=b"sendgrid mail")
    for pair in _digested(form):
        for encoded in pair:
            # With the length, ("ab", "c") and ("a", "bc") have different digests.
            digest.update(len(encoded).to_bytes(8))
            digest.update(encoded)
    return digest.digest()


def _digested(form: Form) -> Iterator[tuple[bytes, bytes]]:
    """Pairs for the digest: names and values of fields, and the description and content of files."""
    for name in _CONTENT:
        if name in form.fields:
            yield name.encode(), form.fields[name]
    for name in _CONTENT_OBJECTS:
        if name in form.fields:
            fields = json_object(form.fields[name])
            # Keys have no fixed order; bytes without a JSON object stay as they are.
            canonical = dumps(fields, sort_keys=True).encode() if fields else form.fields[name]
            yield name.encode(), canonical
    for name, file in sorted(form.files.items()):
        yield f"file {name}".encode("utf-8", "replace"), file.filename
        yield f"{file.content_type} {file.charset}".encode("utf-8", "replace"), file.content


def spam_score(text: str | None) -> float | None:
    """The finite number in `spam_score`, else None."""
    try:
        score = float((text or "")[:50])
    except ValueError:
        return None
    return score if math.isfinite(score) else None


def spam_detected(report: str | None, flag: str | None = None, status: str | None = None) -> bool | None:
    """Whether the mail is spam: by the points in `spam_report`, else by X-Spam-Flag and X-Spam-Status.

    None without an answer. Senders can forge the headers, so SendGrid's report comes first.
    """
    points = _SPAM_DETAILS.search((report or "")[:_LONGEST_SPAM_REPORT])
    if points:
        return float(points[1]) >= float(points[2])
    for header in (flag, status):
        word = re.match(r"\s*(yes|no)\b", header or "", re.IGNORECASE)
        if word:
            return word[1].lower() == "yes"
    return None
