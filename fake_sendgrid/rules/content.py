"""Rules for the bodies and attachments of a mail."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any

from fake_sendgrid.rules.fault import Fault, mistyped, one_line, text

_FIRST = ("text/plain", "text/html")
_REFUSED_PARAMETERS = {"charset", "boundary"}


def faults(mail: Mapping[str, Any]) -> Iterator[Fault]:
    content = mail.get("content", [])
    yield from mistyped(content, list, "content")
    if content == [] and not mail.get("template_id"):
        yield Fault("Unless a valid template_id is provided, the content parameter is required.", "content")
    if isinstance(content, list):
        yield from _content(content)
    if "attachments" in mail:
        yield from _attachments(mail["attachments"])


def _content(content: list[Any]) -> Iterator[Fault]:
    for index, part in enumerate(content):
        field = f"content.{index}"
        yield from mistyped(part, dict, field)
        if isinstance(part, dict):
            yield from _type(part.get("type", ""), f"{field}.type")
            yield from text(part.get("value", ""), f"{field}.value")
    yield from _order([part.get("type") for part in content if isinstance(part, dict)])


def _type(value: object, field: str) -> Iterator[Fault]:
    """Yield the faults of a MIME type.

    The error speaks of every ";". SendGrid sends it for `charset` (sendgrid-java issue 552) and `boundary`
    (sendgrid-java issue 177), and takes `method` (sendgrid-ruby issue 298, sendgrid-nodejs issue 1313). For
    other parameters there is only the wording, so this rule is the lenient reading.
    """
    if isinstance(value, str) and not {"\r", "\n"} & set(value):
        names = {parameter.partition("=")[0].strip().lower() for parameter in value.split(";")[1:]}
        if not names & _REFUSED_PARAMETERS:
            yield from text(value, field)
            return
    yield from one_line(value, field)


def _order(types: list[Any]) -> Iterator[Fault]:
    # AMP may stand between the two ("Google AMP for Email").
    kinds = [kind for kind in types if kind != "text/x-amp-html"]
    first = [kind for kind in kinds if kind in _FIRST]
    if len(first) > len(set(first)):
        yield Fault("If present, text/plain and text/html may only be provided once.", "content")
    elif kinds[: len(first)] != [kind for kind in _FIRST if kind in first]:
        yield Fault(
            "If present, text/plain must be first, followed by text/html, followed by any other content.",
            "content",
        )


def _attachments(attachments: object) -> Iterator[Fault]:
    yield from mistyped(attachments, list, "attachments")
    if isinstance(attachments, list):
        for index, one in enumerate(attachments):
            field = f"attachments.{index}"
            yield from mistyped(one, dict, field)
            if isinstance(one, dict):
                yield from _attachment(one, field)


def _attachment(one: Mapping[str, Any], field: str) -> Iterator[Fault]:
    content = one.get("content", "")
    yield from text(content, f"{field}.content")
    if isinstance(content, str) and not _is_base64(content):
        yield Fault("The attachment content must be base64 encoded.", f"{field}.content")
    yield from one_line(one.get("filename", ""), f"{field}.filename")
    if "type" in one:
        yield from _type(one["type"], f"{field}.type")
    if "content_id" in one:
        yield from one_line(one["content_id"], f"{field}.content_id")
    if one.get("disposition", "inline") not in ("attachment", "inline"):
        yield Fault("The disposition must be attachment or inline.", f"{field}.disposition")


def _is_base64(content: str) -> bool:
    try:
        base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True
