"""Public: assertions about sent mails, and the work of mail workers, for tests. Nothing is posted."""

import math
from collections.abc import Callable, Iterable, Mapping
from email.utils import getaddresses
from typing import Any, TypedDict, Unpack

from django.core import mail
from django.core.mail import EmailMessage
from django.db.models import F

from events_app.shared.addresses import comparable
from events_app.shared.database import DatabaseUnavailable
from sending_app import account
from sending_app.account import Account
from sending_app.api import client, simulated
from sending_app.api.client import SendResult
from sending_app.compose.attributes import combine
from sending_app.delivery import sender
from sending_app.models import Mail, OpenCircuit

__all__ = [
    "assert_mail_sent",
    "assert_no_mail_sent",
    "drain",
]

#: Mails that a failure describes, and characters of a value there.
MAX_MAILS, MAX_SHOWN = 10, 100


class Expected(TypedDict, total=False):
    """What a mail has to be. An address matches without its name, and in any letter case."""

    #: An address that is among the recipients, or the list of all.
    to: str | Iterable[str]
    #: As `to`.
    cc: str | Iterable[str]
    #: As `to`.
    bcc: str | Iterable[str]
    #: Reply addresses, as `to`.
    reply_to: str | Iterable[str]
    #: The sender's address.
    from_email: str
    #: The whole subject.
    subject: str
    #: A part of the text, the HTML, or another alternative.
    body_contains: str
    #: The whole id.
    template_id: str
    #: Tags that the mail has, among others.
    tags: Iterable[str]
    #: Entries that the mail has, among others.
    metadata: Mapping[str, Any]
    #: As `metadata`.
    merge_global_data: Mapping[str, Any]
    #: As `metadata`, by address.
    merge_data: Mapping[str, Mapping[str, Any]]


def assert_mail_sent(*, count: int | None = None, **expected: Unpack[Expected]) -> EmailMessage:
    """Return the first mail of `django.core.mail.outbox` that is as expected.

    Raises AssertionError if there is none, or with `count` another number of such mails. Attributes count
    after the send defaults, but Django's own locmem backend knows no send defaults.
    """
    if count is not None and count < 1:
        raise ValueError("count is at least 1; assert_no_mail_sent() expects none")
    matching, differences = _compare(expected)
    if count is None and matching:
        return matching[0]
    if len(matching) == count:
        return matching[0]
    number = "No mail was" if not matching else f"{len(matching)} mails, not {count}, were"
    wanted = f" with {_shown(expected)}" if expected else ""
    raise AssertionError(_failure(f"{number} sent{wanted}", [f"another has {text}" for text in differences]))


def assert_no_mail_sent(**expected: Unpack[Expected]) -> None:
    """Raises AssertionError if `django.core.mail.outbox` has a mail, or a mail as expected."""
    matching, _ = _compare(expected)
    if matching:
        found = [_shown({"to": message.to, "subject": message.subject}) for message in matching]
        wanted = f" with {_shown(expected)}" if expected else ""
        raise AssertionError(_failure(f"No mail{wanted} was expected", found))


def drain(*, status_code: int = 202, error: str = "The test refuses this mail.") -> int:
    """Do what workers do with the waiting mails of the outbox, and return the number of requests.

    SendGrid's answer to each request has this status code, and with a code from 300 on this error text. So
    202 accepts a mail and calls `post_send`; 400 refuses a mail and calls `send_failed`. Backoffs and open
    circuits of earlier calls do not delay a mail. The first error of a receiver is raised: the state of its
    mail is stored, and the next call goes on.

    Raises ConfigurationError for a mail of a mailer that the settings do not have now.
    """
    waiting = Mail.objects.filter(state=Mail.State.WAITING)
    for alias in waiting.order_by("alias").values_list("alias", flat=True).distinct():
        account.named(alias)  # a worker would leave the mail in the outbox
    waiting.update(due=F("created_at"))
    OpenCircuit.objects.all().delete()

    def answer(_account: Account, _body: bytes) -> SendResult:
        return client.read_response(simulated.response(status_code, error))

    number = 0
    try:
        # Again after the last lane: a receiver may have sent a mail in an earlier lane.
        while requests := sum(
            sum(sender.post_due_mails(lane, math.inf, wake_another=lambda: None, post=answer).values())
            for lane in Mail.Lane
        ):
            number += requests
        return number
    except DatabaseUnavailable as unavailable:
        # A worker keeps the write for its next task. A later test must not make the write, and this test must
        # see the error, which may be a receiver's.
        sender.unwritten.writes.clear()
        raise unavailable.__cause__ or unavailable from None


def _compare(expected: Mapping[str, Any]) -> tuple[list[EmailMessage], list[str]]:
    """The mails that are as expected, and the differences of each other mail as text."""
    if unknown := sorted(expected.keys() - _CHECKS.keys()):
        raise TypeError(f"A mail has no {', '.join(unknown)} to compare; there are {', '.join(_CHECKS)}")
    matching, differences = [], []
    for message in getattr(mail, "outbox", []):
        attributes = getattr(message, "anymail_test_params", None)
        if attributes is None:  # gathered by Django's own backend
            attributes = {**combine(message, {}), "from": message.from_email}
        different = {
            name: _CHECKS[name][0](attributes)
            for name, wanted in expected.items()
            if not _CHECKS[name][1](_CHECKS[name][0](attributes), wanted)
        }
        if different:
            differences.append(_shown(different))
        else:
            matching.append(message)
    return matching, differences


def _addresses(attributes: Mapping[str, Any], name: str) -> list[str]:
    written = attributes.get(name) or []
    texts = [str(address) for address in (written if isinstance(written, list) else [written])]
    return [comparable(address) for _, address in getaddresses(texts)]


def _texts(attributes: Mapping[str, Any]) -> list[str]:
    alternatives = [content for content, _ in attributes.get("alternatives", [])]
    bodies = [attributes.get(name, "") for name in ("body", "text_body", "html_body")]
    return [str(text) for text in (*bodies, *alternatives) if text]


def _has_addresses(found: list[str], wanted: str | Iterable[str]) -> bool:
    if isinstance(wanted, str):
        return set(_addresses({"to": wanted}, "to")) <= set(found)
    return sorted(_addresses({"to": list(wanted)}, "to")) == sorted(found)


def _has_entries(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(name in found and found[name] == entry for name, entry in wanted.items())


#: By argument: how to read a mail's attributes, and whether the mail is as expected.
_CHECKS: dict[str, tuple[Callable[[Mapping[str, Any]], Any], Callable[[Any, Any], bool]]] = {
    "to": (lambda attributes: _addresses(attributes, "to"), _has_addresses),
    "cc": (lambda attributes: _addresses(attributes, "cc"), _has_addresses),
    "bcc": (lambda attributes: _addresses(attributes, "bcc"), _has_addresses),
    "reply_to": (lambda attributes: _addresses(attributes, "reply_to"), _has_addresses),
    "from_email": (lambda attributes: _addresses(attributes, "from"), _has_addresses),
    "subject": (lambda attributes: attributes.get("subject"), lambda found, wanted: found == wanted),
    "body_contains": (_texts, lambda found, wanted: any(wanted in text for text in found)),
    "template_id": (lambda attributes: attributes.get("template_id"), lambda found, wanted: found == wanted),
    "tags": (
        lambda attributes: attributes.get("tags", []),
        lambda found, wanted: {*([wanted] if isinstance(wanted, str) else wanted)} <= {*found},
    ),
    "metadata": (lambda attributes: attributes.get("metadata", {}), _has_entries),
    "merge_global_data": (lambda attributes: attributes.get("merge_global_data", {}), _has_entries),
    "merge_data": (
        lambda attributes: attributes.get("merge_data", {}),
        lambda found, wanted: all(
            _has_entries(found.get(address, {}), wanted[address]) for address in wanted
        ),
    ),
}


def _shown(values: Mapping[str, Any]) -> str:
    each = (f"{name}={value!r}" for name, value in values.items())
    return ", ".join(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..." for text in each)


def _failure(what: str, mails: list[str]) -> str:
    lines = [f"{number}. {text}" for number, text in enumerate(mails[:MAX_MAILS], 1)]
    if len(mails) > MAX_MAILS:
        lines.append(f"... and {len(mails) - MAX_MAILS} more")
    return "\n".join([f"{what}:" if mails else f"{what}.", *lines])
