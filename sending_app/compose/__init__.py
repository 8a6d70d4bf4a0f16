"""Make a mail from a Django message. Raise for everything that SendGrid is known to refuse."""

from dataclasses import dataclass

from django.core.mail import EmailMessage

from sending_app.compose import personalizations, required
from sending_app.compose.attachment import read_attachment
from sending_app.compose.body import build_body
from sending_app.compose.defaults import Attributes, combine
from sending_app.compose.extra import Extra, read_extra
from sending_app.compose.personalizations import Recipients, substitutions, warn_of_bare_names
from sending_app.compose.rules import Rules, check_shapes
from sending_app.exceptions import SerializationError
from sending_app.mail import Attachment, ComposedMail, Personalization, SharedContent, merge_deep

__all__ = [
    "Composed",
    "Rules",
    "compose",
]


@dataclass(frozen=True, slots=True)
class Composed:
    mail: ComposedMail
    #: The personalization's id by the address as the caller wrote the address, without the name. A
    #: recipient of several copies (cc and bcc of a batch) has the id of the last copy.
    recipients: dict[str, str]


def compose(message: EmailMessage, rules: Rules) -> Composed:
    """Make a mail from a message, under these rules. The message stays unchanged.

    Raises MailErrors (UnsupportedFeature, SerializationError, InvalidAddress), ConfigurationError, and
    TypeError for an attribute that must be a list or dict and is not.
    """
    attributes = combine(message, rules.send_defaults)
    extra = read_extra(attributes.get("esp_extra", {}), rules)
    shared = _shared_content(message, attributes, extra, rules)
    if extra.personalizations is not None:
        made = personalizations.from_dicts(extra.personalizations)
        ids = {
            address["email"]: personalization.id
            for personalization in made
            for address in personalization.recipients
        }
        batch = len(made) > 1
    else:
        recipients = personalizations.read_recipients(attributes, rules)
        batch = any(name in attributes for name in personalizations.BATCH_ATTRIBUTES)
        made = _personalizations(recipients, attributes, shared, batch, rules)
        ids = _ids(recipients, made)
    required.check_marker(shared, made)
    bulk = attributes.get("bulk")
    if bulk is not None and not isinstance(bulk, bool):
        raise SerializationError(f"bulk is {bulk!r}; it takes True and False")
    mail = ComposedMail(
        shared=shared,
        personalizations=made,
        attachments=_attachments(attributes, shared, rules),
        is_batch=batch,
        bulk=bulk,
    )
    return Composed(mail, ids)


def _shared_content(
    message: EmailMessage, attributes: Attributes, extra: Extra, rules: Rules
) -> SharedContent:
    body = merge_deep(build_body(attributes, message.content_subtype, rules), extra.body)
    check_shapes(body, "esp_extra")  # only esp_extra can bring a wrong shape
    required.check(body, extra, rules)
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
    )


def _personalizations(
    recipients: Recipients, attributes: Attributes, shared: SharedContent, batch: bool, rules: Rules
) -> list[Personalization]:
    if batch:
        made = personalizations.for_each(recipients, attributes, shared.dynamic, rules)
    else:
        made = [personalizations.for_all(recipients)]
    if not shared.dynamic and shared.field_format is None:
        warn_of_bare_names((personalization.merge_data for personalization in made), shared.global_data)
    return made


def _ids(recipients: Recipients, made: list[Personalization]) -> dict[str, str]:
    ids = dict.fromkeys((mailbox.given for mailbox in (*recipients.cc, *recipients.bcc)), made[-1].id)
    by_recipient = made if len(made) > 1 else made * len(recipients.to)
    for mailbox, personalization in zip(recipients.to, by_recipient, strict=True):
        ids[mailbox.given] = personalization.id
    return ids


def _attachments(attributes: Attributes, shared: SharedContent, rules: Rules) -> list[Attachment]:
    if "attachments" in shared.body:
        return []
    attachments = [read_attachment(attachment) for attachment in attributes.get("attachments", [])]
    required.check_files(attachments, rules)
    return attachments
