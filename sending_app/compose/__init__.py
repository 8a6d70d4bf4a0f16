"""Make a mail from a Django message. Raise for everything that SendGrid is known to refuse."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.core.mail import EmailMessage

from sending_app.compose import list_unsubscribe, personalizations
from sending_app.compose.attachment import read_attachments
from sending_app.compose.attributes import Attributes, Rules, combine
from sending_app.compose.body import build_body
from sending_app.compose.extra import Extra, check_shapes, read_extra
from sending_app.compose.personalizations import Recipients, substitutions, warn_of_bare_names
from sending_app.exceptions import InvalidAddress, SerializationError, UnsupportedFeature
from sending_app.mail import (
    MARKER,
    MAX_LOCAL_PART,
    MOST_SCOPE,
    ComposedMail,
    Personalization,
    SharedContent,
    fill_marker,
    merge_deep,
)

__all__ = [
    "Composed",
    "Rules",
    "compose",
]


@dataclass(frozen=True, slots=True)
class Composed:
    mail: ComposedMail
    #: The ids of an address's personalizations, by the address as the caller wrote the address, without the
    #: name. cc and bcc of a batch have all ids. The ids under which the address is in `to` are the last.
    copies: dict[str, list[str]]
    #: The message's attributes merged over the send defaults.
    attributes: Attributes


def compose(message: EmailMessage, rules: Rules) -> Composed:
    """Make a mail from a message, under these rules. The message stays unchanged.

    Raises MailErrors (UnsupportedFeature, SerializationError, InvalidAddress) and ConfigurationError.
    """
    attributes = combine(message, rules.send_defaults)
    extra = read_extra(attributes.get("esp_extra", {}), rules)
    shared = _shared_content(message, attributes, extra, rules)
    if extra.personalizations is not None:
        made = personalizations.from_dicts(extra.personalizations)
        copies: dict[str, list[str]] = {}
        for personalization in made:
            for address in personalization.recipients:
                copies.setdefault(address["email"], []).append(personalization.id)
        batch = len(made) > 1
    else:
        recipients = personalizations.read_recipients(attributes, rules)
        batch = any(name in attributes for name in personalizations.BATCH_ATTRIBUTES)
        if batch:
            made = personalizations.for_each(recipients, attributes, shared.dynamic, rules)
        else:
            made = [personalizations.for_all(recipients)]
        if not shared.dynamic and shared.field_format is None:
            warn_of_bare_names((personalization.merge_data for personalization in made), shared.global_data)
        copies = _copies(recipients, made)
    _check_marker(shared, made)
    if shared.unsubscribe_scope:
        made = list_unsubscribe.add_links(made, shared)
    bulk = attributes.get("bulk")
    if bulk is not None and not isinstance(bulk, bool):
        raise SerializationError(f"bulk is {bulk!r}; it takes True and False")
    attachments = []
    if "attachments" not in shared.body:  # attachments of `esp_extra` replace ours
        attachments = read_attachments(attributes.get("attachments", []), rules)
    mail = ComposedMail(
        shared=shared,
        personalizations=made,
        attachments=attachments,
        is_batch=batch,
        bulk=bulk,
    )
    return Composed(mail, copies, attributes)


def _shared_content(
    message: EmailMessage, attributes: Attributes, extra: Extra, rules: Rules
) -> SharedContent:
    body = merge_deep(build_body(attributes, message.content_subtype, rules), extra.body)
    check_shapes(body, "esp_extra")  # only esp_extra can bring a wrong shape
    if not body.get("template_id"):  # a template has text and subject (Mail Send API)
        content = body.get("content", [])
        if not content or not all(alternative["value"] for alternative in content):
            rules.refuse("a mail without text: set body, or add an alternative, or set template_id")
        with_subject = [extra.shared] if extra.personalizations is None else extra.personalizations
        if not body.get("subject") and not all(fields.get("subject") for fields in with_subject):
            rules.refuse("a mail without a subject: set subject, or template_id")
    if "reply_to" in extra.body and "reply_to_list" not in extra.body:
        body.pop("reply_to_list", None)  # SendGrid takes either field, never both
    dynamic = extra.dynamic
    if dynamic is None:
        dynamic = str(body.get("template_id", "")).startswith("d-")
    global_data = attributes.get("merge_global_data", {})
    return SharedContent(
        body=body,
        global_data=global_data if dynamic else substitutions(global_data, "merge_global_data"),
        dynamic=bool(dynamic),
        field_format=extra.field_format,
        extra=extra.shared,
        tracked=rules.generate_message_id,
        unsubscribe_scope=_scope(attributes.get("unsubscribe_scope", "")),
    )


def _scope(written: object) -> str:
    is_name = isinstance(written, str) and written.isprintable() and written == written.strip()
    if not isinstance(written, str) or not is_name or len(written) > MOST_SCOPE:
        raise SerializationError(
            f"unsubscribe_scope is {written!r}; it takes a name of up to {MOST_SCOPE} characters, such as "
            '"news", without spaces at its ends'
        )
    return written


def _copies(recipients: Recipients, made: list[Personalization]) -> dict[str, list[str]]:
    every_id = [personalization.id for personalization in made]
    copies = dict.fromkeys((mailbox.given for mailbox in (*recipients.cc, *recipients.bcc)), every_id)
    if len(made) == 1:
        return copies | dict.fromkeys((mailbox.given for mailbox in recipients.to), every_id)
    own: dict[str, list[str]] = {}
    for mailbox, message_id in zip(recipients.to, every_id, strict=True):
        own.setdefault(mailbox.given, []).append(message_id)
    return copies | {given: [*copies.get(given, ()), *ids] for given, ids in own.items()}


def _check_marker(shared: SharedContent, made: Sequence[Personalization]) -> None:
    """Raise for a `reply_to` with `MARKER` that no single id can fill.

    UnsupportedFeature: the mail has no id, or several. InvalidAddress: the address gets too long.
    """
    marked = [address for address in shared.body.get("reply_to_list", []) if MARKER in address["email"]]
    if not marked:
        return
    if not shared.tracked:
        raise UnsupportedFeature(
            f"reply_to has {MARKER}, but this mail has no id: SENDGRID_GENERATE_MESSAGE_ID is off. "
            "Set it to True, or remove the marker"
        )
    if len(made) > 1:
        raise UnsupportedFeature(
            f"reply_to has {MARKER}, and this mail has {len(made)} ids: one for each "
            "recipient of a batch (merge_data, merge_metadata, merge_headers), or for each of esp_extra's "
            "personalizations. SendGrid takes a single reply_to for all of them. Send each recipient a "
            "separate message, or remove the marker: replies name the mail in In-Reply-To as well"
        )
    for address in fill_marker(marked, str(uuid.UUID(int=0))):
        if len(address["email"].rpartition("@")[0].encode()) > MAX_LOCAL_PART:
            raise InvalidAddress(
                f"An address in reply_to is too long with an id for {MARKER}: it may have {MAX_LOCAL_PART} "
                "characters before its @, and the id has 32"
            )
