"""Whether a person has unsubscribed, and the events with which a person changes that."""

import time
from hashlib import blake2b

from django.utils import timezone

from events_app.shared import own_events
from events_app.shared.addresses import comparable
from events_app.shared.personal_data.pseudonyms import PERSONAL_DATA_KEY, pseudonym
from events_app.signals import MESSAGE_ID_ARG
from sending_app.models import Suppression
from sending_app.outbox import using
from sending_app.unsubscribe_links import Link

#: Seconds by which an event is later than the event before. Of two words of one time about a suppression,
#: the word that suppresses wins.
_LATER = 0.001


def unsubscribe(link: Link) -> None:
    """Keep the event, unless the person has unsubscribed already. Raises database errors."""
    suppression = _suppression(link)
    # A suppression for a time ends by itself. That of a person has no end.
    if suppression is None or suppression.until is not None or not _is_in_force(suppression):
        _keep("group_unsubscribe", link, suppression)


def resubscribe(link: Link) -> None:
    """Keep the event that ends an unsubscribe, if there is one. Raises database errors."""
    suppression = _suppression(link)
    if _is_in_force(suppression):
        _keep("group_resubscribe", link, suppression)


def _suppression(link: Link) -> Suppression | None:
    """The suppression by an unsubscribe, if there was one: rather one that holds, else the newest."""
    addresses = [comparable(link.address)]
    if PERSONAL_DATA_KEY.get():
        addresses.append(pseudonym(link.address))  # of a person who was erased since
    rows = Suppression.objects.using(using()).filter(
        address__in=addresses, scope=link.scope, reason=Suppression.Reason.UNSUBSCRIBED.value
    )
    return max(rows, key=lambda row: (_is_in_force(row), row.decided_at), default=None)


def _is_in_force(suppression: Suppression | None) -> bool:
    if suppression is None or not suppression.active:
        return False
    return suppression.until is None or suppression.until > timezone.now()


def _keep(name: str, link: Link, previous: Suppression | None) -> None:
    """Keep an event of this name. `previous` is the state that the event changes."""
    before = previous.decided_at.timestamp() if previous else 0.0
    # The same for clicks at the same time, so that the event is stored once. Another for a later change.
    # Without the address, which the message id stands for: an erasure leaves the ids of events.
    facts = (name, link.message_id, link.scope, repr(before))
    digest = blake2b("\0".join(facts).encode(), digest_size=16).hexdigest()
    own_events.keep(
        [
            {
                "event": name,
                "email": link.address,
                "timestamp": round(max(time.time(), before + _LATER), 3),
                "sg_event_id": f"unsubscribe-{digest}",
                MESSAGE_ID_ARG: link.message_id,
                own_events.SCOPE: link.scope,
                own_events.MARK: own_events.UNSUBSCRIBED,
            }
        ]
    )
