"""Says beside an address on a page that the address is suppressed now, and in which words."""

from collections import defaultdict
from collections.abc import Iterable

from django.utils.html import format_html_join

from events_app.shared.admin.links import link_to
from events_app.shared.escaping import one_line, without_addresses
from events_app.shared.personal_data.pseudonyms import PERSONAL_DATA_KEY, pseudonym
from sending_app.admin.viewer import MailViewer
from sending_app.models import Suppression
from sending_app.suppression.manual import in_force, using
from sending_app.suppression.scopes import GROUP

#: The words of the reasons, by value.
REASON_NAMES = {
    Suppression.Reason.BOUNCED.value: "bounced",
    Suppression.Reason.INVALID.value: "invalid address",
    Suppression.Reason.SPAM.value: "complained of spam",
    Suppression.Reason.UNSUBSCRIBED.value: "unsubscribed",
    Suppression.Reason.BLOCKED.value: "blocked by an operator",
}


def scope_words(scope: str) -> str:
    """The mail that does not go to the address, in words."""
    if not scope:
        return "all mail"
    if scope.startswith(GROUP):
        return f"SendGrid's unsubscribe group {one_line(scope.removeprefix(GROUP))}"
    return one_line(without_addresses(scope))


def suppressed_now(addresses: Iterable[str]) -> defaultdict[str, list[Suppression]]:
    """The suppressions of these addresses that hold now, by address, in one query."""
    forms = {address: address for address in addresses if address}
    if PERSONAL_DATA_KEY.get():
        # A person who was erased and came back: the suppression has the pseudonym.
        forms |= {pseudonym(address): address for address in tuple(forms)}
    found = defaultdict[str, list[Suppression]](list)
    if forms:
        rows = Suppression.objects.filter(in_force(using()), address__in=forms)
        for row in rows.order_by("pk"):
            found[forms[row.address]].append(row)
    return found


def suppression_links(rows: Iterable[Suppression], viewer: MailViewer) -> str:
    """The reason and the scope of each suppression as HTML, with links for who may view suppressions."""
    texts = ((row, f"{REASON_NAMES[row.reason]} ({scope_words(row.scope)})") for row in rows)
    return format_html_join(
        ", ", "{}", ((link_to(row, text) if viewer.suppressions else text,) for row, text in texts)
    )
