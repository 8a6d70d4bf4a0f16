"""Find the mails that were sent after an erasure: events of these mails are stored unchanged."""

from collections.abc import Collection, Set

from events_app.shared.database import AnyOf
from events_app.shared.personal_data.registry import MessageAndErasure
from sending_app.filters import as_uuid
from sending_app.models import Recipient


def newer_mails(pairs: Collection[MessageAndErasure]) -> Set[MessageAndErasure]:
    """The pairs whose message was made after the erasure. Raises database errors."""
    ids = {text: message_id for text, _ in pairs if (message_id := as_uuid(text))}
    rows = Recipient.objects.filter(AnyOf("message_id", list(set(ids.values()))))
    # Not `Mail.created_at`, which a retry by an operator sets anew.
    created = dict(rows.values_list("message_id", "mail__message__created_at").distinct())
    return {
        (text, erased_at)
        for text, erased_at in pairs
        if text in ids and ids[text] in created and created[ids[text]] > erased_at
    }
