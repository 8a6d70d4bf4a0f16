"""A Django message becomes a mail. Whatever SendGrid would refuse of it, and we can know, is refused here."""

from dataclasses import dataclass

from django.core.mail import EmailMessage

from sending_app.compose import attachment, extra, personalizations, required
from sending_app.compose.body import build
from sending_app.compose.defaults import Attributes, combine, merge_deep
from sending_app.compose.personalizations import Recipients, substitutions, warn_of_bare_names
from sending_app.compose.rules import Rules, check_shapes
from sending_app.exceptions import MailError, SerializationError
from sending_app.mail import Attachment, ComposedMail, Personalization, SharedContent

__all__ = [
    "Composed",
    "Rules",
    "compose",
]


@dataclass(frozen=True, slots=True)
class Composed:
    mail: ComposedMail
    #: The personalization's id by the address as the caller wrote it, without its name. Who gets several
    #: copies (cc and bcc of a batch) has the last one's.
    recipients: dict[str, str]


def compose(message: EmailMessage, rules: Rules) -> Composed:
    """The mail a message is, under these rules; the message is left as it was.

    Raises MailErrors (UnsupportedFeature, SerializationError, InvalidAddress), TypeError for an
    attribute that is no list or dict and must be one, ConfigurationError.
    """
    try:
        return _compose(message, rules)
    except MailError as error:
        error.email_message = message
        raise


def _compose(message: EmailMessage, rules: Rules) -> Composed:
    attributes = combine(message, rules.send_defaults)
    special = extra.read(attributes.get("esp_extra", {}), rules)
    shared = _shared_content(message, attributes, special, rules)
    if special.personalizations is not None:
        found = personalizations.given(special.personalizations)
        ids = {
            one["email"]: personalization.id
            for personalization in found
            for one in personalization.recipients
        }
        batch = len(found) > 1
    else:
        recipients = personalizations.read(attributes, rules)
        batch = personalizations.is_batch(attributes)
        found = _personalizations(recipients, attributes, shared, batch, rules)
        ids = _ids(recipients, found)
    required.check_marker(shared, found)
    mail = ComposedMail(
        shared=shared,
        personalizations=found,
        attachments=_attachments(attributes, shared, rules),
        is_batch=batch,
        bulk=_bulk(attributes),
    )
    return Composed(mail, ids)


def _shared_content(
    message: EmailMessage, attributes: Attributes, special: extra.Extra, rules: Rules
) -> SharedContent:
    body = merge_deep(build(attributes, message.content_subtype, rules), special.body)
    check_shapes(body, "esp_extra")  # what we make is in shape
    required.check(body, special, rules)
    if "reply_to" in special.body and "reply_to_list" not in special.body:
        body.pop("reply_to_list", None)  # SendGrid takes one of the two
    dynamic = special.dynamic
    if dynamic is None:
        dynamic = str(body.get("template_id", "")).startswith("d-")
    global_data = attributes.get("merge_global_data", {})
    return SharedContent(
        body=body,
        global_data=global_data if dynamic else substitutions(global_data, "merge_global_data"),
        dynamic=bool(dynamic),
        field_format=special.field_format,
        extra=special.shared,
        tracked=rules.generate_message_id,
    )


def _personalizations(
    recipients: Recipients, attributes: Attributes, shared: SharedContent, batch: bool, rules: Rules
) -> list[Personalization]:
    if batch:
        found = personalizations.for_each(recipients, attributes, shared.dynamic, rules)
    else:
        found = [personalizations.for_all(recipients)]
    if not shared.dynamic and shared.field_format is None:
        warn_of_bare_names((one.merge_data for one in found), shared.global_data)
    return found


def _ids(recipients: Recipients, found: list[Personalization]) -> dict[str, str]:
    copied = dict.fromkeys((one.given for one in (*recipients.cc, *recipients.bcc)), found[-1].id)
    each = found if len(found) > 1 else found * len(recipients.to)
    own = {
        mailbox.given: personalization.id
        for mailbox, personalization in zip(recipients.to, each, strict=True)
    }
    return copied | own


def _attachments(attributes: Attributes, shared: SharedContent, rules: Rules) -> list[Attachment]:
    if "attachments" in shared.body:
        return []
    found = [attachment.read(one) for one in attributes.get("attachments", [])]
    required.check_files(found, rules)
    return found


def _bulk(attributes: Attributes) -> bool | None:
    found = attributes.get("bulk")
    if found is not None and not isinstance(found, bool):
        raise SerializationError(f"bulk is {found!r}; it takes True and False")
    return found
