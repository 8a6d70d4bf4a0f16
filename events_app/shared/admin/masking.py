"""Addresses are masked for users without the permission `view_addresses` of the app."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest

from events_app.shared.addresses import mask
from events_app.shared.admin.read_only import ReadOnly
from events_app.shared.escaping import one_line

#: In place of a text that may quote an address in any spelling.
HIDDEN = "Not shown: the text may quote addresses, and you have no permission to view addresses."

# Parts of an address would tell a masked address letter by letter.
_ONLY_WHOLE = "Addresses are masked for you: only a whole address finds rows, and no part of a text."


def may_view_addresses(request: HttpRequest, app_label: str) -> bool:
    """Whether the user sees the app's addresses."""
    user: Any = request.user
    return bool(user.has_perm(f"{app_label}.view_addresses"))


class MaskedAddresses(ReadOnly):
    """Read-only admin pages whose columns of addresses are masked without the permission."""

    #: Columns with an address.
    address_fields: tuple[str, ...] = ()

    def shows_addresses(self, request: HttpRequest) -> bool:
        return may_view_addresses(request, self.opts.app_label)

    def get_list_display(self, request: HttpRequest) -> Any:
        shows = self.shows_addresses(request)
        names = super().get_list_display(request)
        return [_address_column(name, shows) if name in self.address_fields else name for name in names]

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist = super().get_changelist_instance(request)
        if self.search_help_text and not self.shows_addresses(request):
            changelist.search_help_text = f"{self.search_help_text}. {_ONLY_WHOLE}"
        return changelist


def _address_column(name: str, shows: bool) -> Callable[[Any], str]:
    # Without `ordering`: a list sorted by address would tell more than the mask.
    @admin.display(description=name.replace("_", " "))
    def column(row: Any) -> str:
        address = getattr(row, name)
        # A stranger wrote the address, perhaps with a character that reorders the text.
        return one_line(address if shows else mask(address))

    column.__name__ = name
    return column
