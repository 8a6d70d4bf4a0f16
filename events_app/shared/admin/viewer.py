"""What the user of a page may see."""

from typing import Any

from django.http import HttpRequest

from events_app.shared.addresses import mask
from events_app.shared.admin.masking import HIDDEN, may_view_addresses
from events_app.shared.escaping import one_line, printable, without_addresses


class Viewer:
    """The user's permissions in an app, and texts as the user may see the texts.

    Texts have no control characters: a character that reorders the text could forge a word on the page.
    """

    def __init__(self, request: HttpRequest, app_label: str) -> None:
        user: Any = request.user
        self.addresses = may_view_addresses(request, app_label)
        self.content = bool(user.has_perm(f"{app_label}.view_content"))

    def address(self, address: str) -> str:
        return one_line(address if self.addresses else mask(address))

    def line(self, text: str) -> str:
        """A text on one line, which may quote an address."""
        return one_line(text if self.addresses else without_addresses(text))

    def text(self, text: str) -> str:
        """A text of several lines, which may quote an address."""
        return printable(text if self.addresses else without_addresses(text))

    def quoting(self, text: str) -> str:
        """A text that quotes addresses in any spelling: not shown without the permission."""
        return printable(text) if self.addresses or not text else HIDDEN
