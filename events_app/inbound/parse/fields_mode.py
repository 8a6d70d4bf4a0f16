"""A post of parsed mode, where SendGrid posts a mail's parts as form fields, rebuilt to a mail.

Headers, bodies and files are as in raw mode. Only boundaries and transfer encodings differ from the sender's.
"""

import re
from email.parser import BytesHeaderParser
from functools import partial
from itertools import islice
from urllib.parse import quote

from events_app.inbound import construct
from events_app.inbound.message import InboundMessage
from events_app.inbound.mime.bounds import MOST_HEADER_BYTES, Taken
from events_app.inbound.mime.tree import OF_UTF_8
from events_app.inbound.parse.form import Fields, File, Form
from events_app.inbound.part import mail_policy
from events_app.inbound.text import cid_urls
from events_app.inbound.text.addresses import read_addresses
from events_app.inbound.text.charsets import codec_name
from events_app.inbound.text.decoding import decode_text
from events_app.inbound.text.encoded_words import decode_words, one_line
from events_app.inbound.text.headers import decode_bytes, is_damaged, sources

#: Headers SendGrid repeats as fields.
_ALSO_FIELDS = ("From", "To", "Cc", "Subject")

#: The most characters to read of such a field.
_LONGEST_FIELD = MOST_HEADER_BYTES // 4

# Space before the colon is the obsolete syntax of RFC 5322, 4.5.8.
_HEADER = re.compile(rb"([\x21-\x39\x3b-\x7e]++)[ \t]*+(:.*)", re.DOTALL)
_TOKEN = re.compile(r"[\w!#$&^.+:-]{1,40}", re.ASCII)


def rebuild_mail(form: Form, fields: Fields) -> InboundMessage:
    """The mail of a form with the field `headers`; `fields` are the form's fields as text."""
    taken = Taken()
    block = form.fields.get("headers", b"")
    Taken().add_part(block)
    policy = mail_policy(taken.budget)
    new = partial(InboundMessage, policy)
    head = BytesHeaderParser(policy=policy).parsebytes(_header_lines(block))
    message = construct.with_headers(new(), head)
    # The parts of a multipart mail are not posted, but the charsets of its texts are.
    of_texts = (codec_name(fields.charsets.get(kind, "")) for kind in ("text", "html"))
    charsets = (head.get_content_charset(), *of_texts)
    decode_bytes(message, next((charset for charset in charsets if charset not in OF_UTF_8), ""))
    for name in _ALSO_FIELDS:
        text = one_line(fields.get(name.lower(), "")[:_LONGEST_FIELD])
        if text and _is_better(name, text, message):
            del message[name]
            construct.set_header(message, name, text)
    text, html = fields.get("text", ""), fields.get("html", "")
    shown = cid_urls.content_ids(html)
    files = _files(form, fields, shown, taken)
    if files and not (text or html or "text" in fields):
        bodies = []  # no empty body before the files
    else:
        # Only the headers of a mail of a single text have the parameters of the text: whether its lines are
        # flowed (RFC 3676), and its name.
        is_single = not (files or (text and html)) and (
            head.get_content_type() == ("text/html" if html else "text/plain")
        )
        flow = {name: str(head.get_param(name, "")) for name in ("format", "delsp") if is_single}
        parameters = "".join(f"; {name}={word}" for name, word in flow.items() if _TOKEN.fullmatch(word))
        filename = head.get_filename() if is_single else None
        if filename:
            parameters += f"; name*=utf-8''{quote(filename, safe='')}"
        bodies = [construct.text_part(new(), "plain", text, parameters)] if text or not html else []
        bodies += [construct.text_part(new(), "html", html, parameters)] if html else []
    inlines = [file for file in files if file.content_id in shown]
    attached = [file for file in files if file.content_id not in shown]
    return construct.with_content(message, new, bodies, inlines, attached)


def _is_better(name: str, field: str, message: InboundMessage) -> bool:
    """Whether a field is a better source than the headers of its name: they are missing, or damaged.

    SendGrid has decoded a field, so a display name there can look like an address. Then the header is better.
    """
    headers = [source for header, source in message.raw_items() if header.lower() == name.lower()]
    if len(headers) != 1 or "\ufffd" in field or not is_damaged(headers[0]):
        return not headers
    if name == "Subject":
        return True
    in_header, in_field = sources(message, name), [field]
    return [address.addr_spec for address in read_addresses(in_header)] == [
        address.addr_spec for address in read_addresses(in_field)
    ]


def _header_lines(block: bytes) -> bytes:
    """The lines of headers and their continuation lines. A line without a header hides no later header."""
    lines: list[bytes] = []
    is_header = False
    for line in block.removeprefix(b"\xef\xbb\xbf").splitlines():
        header = _HEADER.match(line)
        if header:
            lines.append(header[1] + header[2])
        elif is_header and line[:1] in (b" ", b"\t") and line.strip():
            lines.append(line)
        is_header = header is not None or (is_header and line[:1] in (b"", b" ", b"\t"))
    return b"\n".join(lines)


def _files(form: Form, fields: Fields, shown: set[str], taken: Taken) -> list[InboundMessage]:
    """The files in the order of their numbers; the form's parts have no fixed order.

    `shown` are the content ids in the HTML.
    """
    # File names stand in the headers of a mail's source, so they count as bytes of headers here.
    taken.add_bytes(sum(len(file.filename) for file in form.files.values()))
    attachment_info = fields.object("attachment-info")
    content_ids = _content_ids(form, fields)
    names = sorted(form.files, key=lambda name: (len(name), name))
    policy = mail_policy(taken.budget)
    messages = {name: InboundMessage(policy) for name in names}
    for name, message in messages.items():
        file, file_info = form.files[name], attachment_info.get(name)
        pairs = file_info.items() if isinstance(file_info, dict) else ()
        info = {key: text for key, text in pairs if isinstance(text, str)}
        content_id = one_line(content_ids.get(name) or info.get("content-id", "")).strip("<> ")
        # Parameters may follow the type: the method of an invitation.
        types = (one_line(kind).partition(";") for kind in (info.get("type", ""), file.content_type))
        content_type, semicolon, parameters = next(
            (kind for kind in types if construct.is_type_of_file(kind[0].strip())), ("", "", "")
        )
        charsets = filter(_TOKEN.fullmatch, (info.get("charset", ""), file.charset))
        construct.describe_file(
            message,
            # Of two parameters with a name, readers take the first.
            content_type
            + "".join(f'; charset="{charset}"' for charset in islice(charsets, 1))
            + semicolon
            + parameters,
            filename=_name(file, info, fields.charsets.get("filename", "")),
            content_id=content_id,
            # SendGrid posts no disposition. An inline text could be taken for a body.
            inline=content_id in shown and content_type.strip().lower() not in ("text/plain", "text/html"),
        )
    for name, message in messages.items():
        construct.fill(message, form.files[name].content, taken)
    return list(messages.values())


def _content_ids(form: Form, fields: Fields) -> dict[str, str]:
    """Content ids by file. SendGrid's own samples map both ways: file to id and id to file."""
    content_ids = {}
    for name, content_id in fields.object("content-ids").items():
        if isinstance(content_id, str):
            if content_id in form.files:
                content_ids[content_id] = name
            else:
                content_ids[name] = content_id
    return content_ids


def _name(file: File, info: dict[str, str], charset: str) -> str:
    """The file's name from attachment-info, where names need no quoting, unless it is damaged."""
    sources = [info.get("filename", ""), decode_text(file.filename, charset), info.get("name", "")]
    names = [decode_words(name) for name in sources if name]
    name = next((name for name in names if "\ufffd" not in name), names[0] if names else "")
    # Some programs send the whole path. Django strips it from uploaded files
    # (django.http.multipartparser, sanitize_file_name), and a receiver may store the file under this name.
    name = re.split(r"[/\\]", name)[-1]
    return "" if name in (".", "..") else name
