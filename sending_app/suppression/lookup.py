"""Look up which recipients of a mail are suppressed."""

from collections.abc import Collection
from typing import Any

from events_app.shared.database import clean
from events_app.shared.personal_data.pseudonyms import PERSONAL_DATA_KEY, pseudonym
from sending_app import sql
from sending_app.mail import SharedContent
from sending_app.models import Suppression
from sending_app.sql import LookUp
from sending_app.suppression.scopes import ALL_MAIL, scopes_of

Reason = Suppression.Reason

#: Of an address with several reasons the first counts: the reason that is hardest to mend.
STRONGEST_FIRST = (Reason.BOUNCED, Reason.INVALID, Reason.SPAM, Reason.UNSUBSCRIBED, Reason.BLOCKED)

#: Each bypass of SendGrid's `mail_settings`, with the list of SendGrid's that the mail ignores
#: (Mail Send API). `bypass_list_management` ignores all lists.
_BYPASSES = {
    "bypass_bounce_management": Reason.BOUNCED,
    "bypass_spam_management": Reason.SPAM,
    "bypass_unsubscribe_management": Reason.UNSUBSCRIBED,
}


def find_suppressed(shared: SharedContent, addresses: Collection[str], database: str) -> dict[str, str]:
    """The reject reason of each of these addresses that is suppressed for the mail, by address.

    One query. Raises database errors.
    """
    if not addresses or _bypasses(shared, "bypass_list_management"):
        return {}
    stored = _stored(addresses)
    found: dict[str, set[str]] = {}
    for address, scope, reason in sql.active_suppressions(database, LookUp([*stored], scopes_of(shared))):
        if not _is_bypassed(shared, scope, reason):
            found.setdefault(stored[address], set()).add(reason)
    return {
        address: next(reason.value for reason in STRONGEST_FIRST if reason in reasons)
        for address, reasons in found.items()
    }


def any_suppression(shared: SharedContent, addresses: Collection[str]) -> LookUp:
    """The look-up that finds something if `find_suppressed` does, or if the mail bypasses a suppression."""
    return LookUp([*_stored(addresses)], scopes_of(shared))


def _stored(addresses: Collection[str]) -> dict[str, str]:
    """The addresses by their forms in the column of suppressions."""
    # The suppression of an erased person has the pseudonym.
    stored = {clean(address): address for address in addresses}
    if PERSONAL_DATA_KEY.get():
        stored |= {pseudonym(address): address for address in addresses}
    return stored


def _is_bypassed(shared: SharedContent, scope: str, reason: str) -> bool:
    # The bypass of unsubscribes ignores SendGrid's global list, not the groups (Mail Send API).
    return scope == ALL_MAIL and any(
        reason == bypassed and _bypasses(shared, name) for name, bypassed in _BYPASSES.items()
    )


def _bypasses(shared: SharedContent, name: str) -> bool:
    settings: Any = shared.body.get("mail_settings")
    setting = settings.get(name) if isinstance(settings, dict) else None
    return isinstance(setting, dict) and setting.get("enable") is True
