"""A post of parsed mode, where SendGrid posts a mail's parts as form fields, rebuilt to a mail.

Headers, bodies and files are as in raw mode. Only boundaries and transfer encodings differ from the sender's.
"""

import re
from base64 import encodebytes
from email.parser import BytesHeaderParser
from email.policy import Policy
from urllib.parse import quote

from events_app.decode import Unreadable
from events_app.inbound.message import InboundMessage, policy
from events_app.inbound.parse import mime
from events_app.inbound.parse.form import Fields, File, Form
from events_app.inbound.text.decoding import decode
from events_app.inbound.text.encoded_words import one_line, words

#: Headers SendGrid repeats as fields.
_ALSO_FIELDS = ("From", "To", "Cc", "Subject")

#: The most characters to read of such a field.
_LONGEST_FIELD = mime.MOST_HEADER_BYTES // 4

_HEADER = re.compile(rb"[\x21-\x39\x3b-\x7e]+:|[ \t]+\S")
_TYPE = re.compile(r"(?!multipart/)[\w!#$&^.+-]+/[\w!#$&^.+-]+", re.ASCII)
_TOKEN = re.compile(r"[\w!#$&^.+:-]{1,40}", re.ASCII)


def parse(form: Form, fields: Fields) -> InboundMessage:
    """The mail of a form with the field `headers`; `fields` are the form's fields as text."""
    taken = mime.Taken()
    message = _headers(form.fields.get("headers", b""), taken)
    for name in _ALSO_FIELDS:
        text = one_line(fields.get(name.lower(), "")[:_LONGEST_FIELD])
        if text and message[name] is None:
            _set(message, name, text)
    content = _content(fields, _files(form, fields, taken), message.policy)
    _set(message, "MIME-Version", "1.0")
    for name, header in content.raw_items():
        message.set_raw(name, header)
    message.set_payload(content.get_payload())
    return message


def _headers(block: bytes, taken: mime.Taken) -> InboundMessage:
    """A message with these headers, but no Content-* headers. Lines without a header are skipped."""
    mime.Taken().add_part(block)
    lines = [line for line in block.splitlines() if _HEADER.match(line)]
    message = InboundMessage(policy(taken.budget))
    for name, header in BytesHeaderParser(policy=message.policy).parsebytes(b"\n".join(lines)).raw_items():
        if name.lower() != "mime-version" and not name.lower().startswith("content-"):
            message.set_raw(name, header)
    message.set_payload("")
    return message


def _content(fields: Fields, files: list[InboundMessage], policy: Policy) -> InboundMessage:
    """The bodies and files, structured as by mail programs."""
    text, html = fields.get("text", ""), fields.get("html", "")
    bodies = [_body("plain", text, policy)] if text or not html else []
    inlines = [file for file in files if file.is_inline()] if html else []
    if html:
        bodies.append(_inside("related", [_body("html", html, policy), *inlines]))
    body = _inside("alternative", bodies)
    attached = [file for file in files if not any(file is inline for inline in inlines)]
    if attached and not (text or html or "text" in fields):
        return _inside("mixed", attached, always=True)  # without an empty body
    return _inside("mixed", [body, *attached])


def _inside(subtype: str, parts: list[InboundMessage], *, always: bool = False) -> InboundMessage:
    """The parts in a multipart; a single part alone."""
    if len(parts) == 1 and not always:
        return parts[0]
    multipart = InboundMessage(parts[0].policy)
    _set(multipart, "Content-Type", f"multipart/{subtype}")
    for inner in parts:
        multipart.attach(inner)
    return multipart


def _body(subtype: str, text: str, policy: Policy) -> InboundMessage:
    body = InboundMessage(policy)
    _set(body, "Content-Type", f'text/{subtype}; charset="utf-8"')
    _fill(body, text.encode())
    return body


def _files(form: Form, fields: Fields, taken: mime.Taken) -> list[InboundMessage]:
    """The files in the order of their numbers; the form's parts have no fixed order."""
    # File names stand in the headers of a mail's source, so they count as bytes of headers here.
    taken.add_bytes(sum(len(file.filename) for file in form.files.values()))
    attachment_info = fields.object("attachment-info")
    content_ids = _content_ids(form, fields)
    names = sorted(form.files, key=lambda name: (len(name), name))
    mail_policy = policy(taken.budget)
    messages = {name: InboundMessage(mail_policy) for name in names}
    for name, message in messages.items():
        file_info = attachment_info.get(name)
        pairs = file_info.items() if isinstance(file_info, dict) else ()
        texts = {key: text for key, text in pairs if isinstance(text, str)}
        _describe(message, form.files[name], texts, content_ids.get(name, ""), fields)
    for name, message in messages.items():
        content = form.files[name].content
        if not (message.get_content_maintype() == "message" and _attach_mail(message, content, taken)):
            _fill(message, content)
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


def _describe(
    part: InboundMessage, file: File, info: dict[str, str], content_id: str, fields: Fields
) -> None:
    """Set the file's headers on the part."""
    types = (info.get("type", ""), file.content_type, "application/octet-stream")
    content_type = next(filter(_TYPE.fullmatch, types))
    charset = next(filter(_TOKEN.fullmatch, (info.get("charset", ""), file.charset)), "")
    _set(part, "Content-Type", content_type + (charset and f'; charset="{charset}"'))
    content_id = one_line(content_id or info.get("content-id", "")).strip("<>")
    name = _name(file, info, fields.charsets.get("filename", ""))
    parameter = name and "; filename*=utf-8''" + quote(name, safe="")  # RFC 2231
    _set(part, "Content-Disposition", ("inline" if content_id else "attachment") + parameter)
    if content_id:
        _set(part, "Content-ID", f"<{content_id}>")


def _name(file: File, info: dict[str, str], charset: str) -> str:
    """The file's name from attachment-info, where names need no quoting, unless it is damaged."""
    sources = [info.get("filename", ""), decode(file.filename, charset), info.get("name", "")]
    names = [words(name) for name in sources if name]
    return next((name for name in names if "\ufffd" not in name), names[0] if names else "")


def _fill(part: InboundMessage, content: bytes) -> None:
    """Set the part's content so that `get_content_bytes` returns the same bytes."""
    _set(part, "Content-Transfer-Encoding", "base64")
    part.set_payload(encodebytes(content).decode("ascii"))


def _attach_mail(part: InboundMessage, content: bytes, taken: mime.Taken) -> bool:
    """Attach the content as a parsed mail, if within the bounds and reproduced byte for byte."""
    try:
        part.attach(mime.parse(content, taken))
        if part.get_content_bytes() == content:
            return True
    except (Unreadable, ValueError, LookupError):
        pass
    part.set_payload("")
    return False


def _set(part: InboundMessage, name: str, value: str) -> None:
    """Set a header without the parsing and folding of `part[name] = value`."""
    part.set_raw(*part.policy.header_source_parse([f"{name}: {value}"]))
