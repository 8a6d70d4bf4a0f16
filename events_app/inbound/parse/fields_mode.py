"""A post of parsed mode, where SendGrid has taken the mail apart: put together again.

It comes out as the mail would come in raw mode, in its headers, bodies and files; only the boundaries
and transfer encodings are not the sender's.
"""

import re
from base64 import encodebytes
from email.parser import BytesHeaderParser
from email.policy import Policy
from typing import Any
from urllib.parse import quote

from events_app.decode import Unreadable
from events_app.inbound.message import InboundMessage, policy
from events_app.inbound.parse import mime
from events_app.inbound.parse.form import Fields, File, Form
from events_app.inbound.text.decoding import decode
from events_app.inbound.text.headers import one_line, words

#: Headers that SendGrid sends a second time, as fields.
_ALSO_FIELDS = ("From", "To", "Cc", "Subject")

#: Characters that are read of such a field.
_LONGEST_FIELD = mime.MOST_HEADER_BYTES // 4

_HEADER = re.compile(rb"[\x21-\x39\x3b-\x7e]+:|[ \t]+\S")
_TYPE = re.compile(r"(?!multipart/)[\w!#$&^.+-]+/[\w!#$&^.+-]+", re.ASCII)
_TOKEN = re.compile(r"[\w!#$&^.+:-]{1,40}", re.ASCII)


def parse(form: Form, fields: Fields) -> InboundMessage:
    """The mail of a post that has `headers`; the fields are those of the form."""
    taken = mime.Taken()
    message = _headers(form.fields.get("headers", b""), taken)
    for name in _ALSO_FIELDS:
        text = one_line(fields.get(name.lower(), "")[:_LONGEST_FIELD])
        if text and message[name] is None:
            _set(message, name, text)
    content = _content(fields, _files(form, fields, taken), message.policy)
    _set(message, "MIME-Version", "1.0")
    for name, value in content.raw_items():
        message.set_raw(name, value)
    message.set_payload(content.get_payload())
    return message


def _headers(block: bytes, taken: mime.Taken) -> InboundMessage:
    """A message with these headers, without those of its content. A line that is none stops nothing."""
    mime.Taken().add_part(block)
    lines = [line for line in block.splitlines() if _HEADER.match(line)]
    message = InboundMessage(policy(taken.budget))
    for name, value in BytesHeaderParser(policy=message.policy).parsebytes(b"\n".join(lines)).raw_items():
        if name.lower() != "mime-version" and not name.lower().startswith("content-"):
            message.set_raw(name, value)
    message.set_payload("")
    return message


def _content(fields: Fields, files: list[InboundMessage], policy: Policy) -> InboundMessage:
    """The bodies and files in the structure that mail programs give them."""
    text, html = fields.get("text", ""), fields.get("html", "")
    bodies = [_body("plain", text, policy)] if text or not html else []
    shown = [part for part in files if part.is_inline()] if html else []
    if html:
        bodies.append(_inside("related", [_body("html", html, policy), *shown]))
    body = _inside("alternative", bodies)
    attached = [part for part in files if not any(part is each for each in shown)]
    if attached and not (text or html or "text" in fields):
        return _inside("mixed", attached, always=True)  # no body, rather than an empty one
    return _inside("mixed", [body, *attached])


def _inside(kind: str, parts: list[InboundMessage], *, always: bool = False) -> InboundMessage:
    """The parts in a multipart of this kind; a single one by itself."""
    if len(parts) == 1 and not always:
        return parts[0]
    whole = InboundMessage(parts[0].policy)
    _set(whole, "Content-Type", f"multipart/{kind}")
    for part in parts:
        whole.attach(part)
    return whole


def _body(kind: str, text: str, policy: Policy) -> InboundMessage:
    part = InboundMessage(policy)
    _set(part, "Content-Type", f'text/{kind}; charset="utf-8"')
    _fill(part, text.encode())
    return part


def _files(form: Form, fields: Fields, taken: mime.Taken) -> list[InboundMessage]:
    """The files in the order of their numbers; the parts of the form come in any."""
    # In the mail's source these are in headers, and are as many bytes there.
    taken.add_bytes(sum(len(file.filename) for file in form.files.values()))
    info = fields.object("attachment-info")
    content_ids = _content_ids(form, fields)
    names = sorted(form.files, key=lambda name: (len(name), name))
    mail = policy(taken.budget)
    parts = [InboundMessage(mail) for _ in names]
    for name, part in zip(names, parts, strict=True):
        _describe(part, form.files[name], _of(info, name), content_ids.get(name, ""), fields)
    for name, part in zip(names, parts, strict=True):
        content = form.files[name].content
        if not (part.get_content_maintype() == "message" and _attach_mail(part, content, taken)):
            _fill(part, content)
    return parts


def _content_ids(form: Form, fields: Fields) -> dict[str, str]:
    """The content id of each file that has one: SendGrid's own samples have the map both ways round."""
    found = {}
    for one, other in fields.object("content-ids").items():
        if isinstance(other, str):
            name, content_id = (other, one) if other in form.files else (one, other)
            found[name] = content_id
    return found


def _of(info: dict[str, Any], name: str) -> dict[str, str]:
    found = info.get(name)
    return (
        {key: text for key, text in found.items() if isinstance(text, str)} if isinstance(found, dict) else {}
    )


def _describe(
    part: InboundMessage, file: File, info: dict[str, str], content_id: str, fields: Fields
) -> None:
    """Give the part the file's headers."""
    kind = next((kind for kind in (info.get("type", ""), file.content_type) if _TYPE.fullmatch(kind)), "")
    charset = next((name for name in (info.get("charset", ""), file.charset) if _TOKEN.fullmatch(name)), "")
    _set(part, "Content-Type", (kind or "application/octet-stream") + (charset and f'; charset="{charset}"'))
    content_id = one_line(content_id or info.get("content-id", "")).strip("<>")
    name = _name(file, info, fields.charsets.get("filename", ""))
    _set(
        part, "Content-Disposition", ("inline" if content_id else "attachment") + (name and _parameter(name))
    )
    if content_id:
        _set(part, "Content-ID", f"<{content_id}>")


def _name(file: File, info: dict[str, str], charset: str) -> str:
    """The file's name: as attachment-info has it, which needs no quoting, unless that is damaged."""
    names = [info.get("filename", ""), decode(file.filename, charset), info.get("name", "")]
    found = [words(name) for name in names if name]
    return next((name for name in found if "\ufffd" not in name), found[0] if found else "")


def _parameter(name: str) -> str:
    return "; filename*=utf-8''" + quote(name, safe="")  # RFC 2231


def _fill(part: InboundMessage, content: bytes) -> None:
    """Give the part its content, to be got back byte for byte."""
    _set(part, "Content-Transfer-Encoding", "base64")
    part.set_payload(encodebytes(content).decode("ascii"))


def _attach_mail(part: InboundMessage, content: bytes, taken: mime.Taken) -> bool:
    """Put a mail in as one, if the bounds let it, and it is written again just as it came."""
    try:
        part.attach(mime.parse(content, taken))
        if part.get_content_bytes() == content:
            return True
    except (Unreadable, ValueError, LookupError):
        pass
    part.set_payload("")
    return False


def _set(part: InboundMessage, name: str, value: str) -> None:
    """Without parsing and folding it first, as `part[name] = value` would do."""
    part.set_raw(*part.policy.header_source_parse([f"{name}: {value}"]))
