"""Read-only admin pages for large tables."""

from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db import DataError
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.text import capfirst

from events_app.shared.admin.list_filters import TimeRange
from events_app.shared.admin.states import STYLE_SHEET

if TYPE_CHECKING:  # generic for the type checker alone
    _ModelAdmin = admin.ModelAdmin[Any]
    _Paginator = Paginator[Any]
else:
    _ModelAdmin = admin.ModelAdmin
    _Paginator = Paginator


class Capped(_Paginator):
    """Pages of the first rows only: to count a large table takes longer than to read a page."""

    MOST = 10_000

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        count: int = rows.order_by().values("pk")[: self.MOST].count()
        return count


#: What drivers raise for a value that no column can have: a number of 30 digits, a text with NUL or half a
#: surrogate pair. None of them reaches the server, so a transaction stays usable.
_IMPOSSIBLE = (OverflowError, DataError, UnicodeEncodeError)


class _List(ChangeList):
    model_admin: "ReadOnly"
    result_list: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = capfirst(str(self.opts.verbose_name_plural))  # in place of "Select ... to view"

    def get_ordering_field(self, field_name: Any) -> Any:
        # "?o=3" in the URL of a list asks for any column.
        is_sortable = self.sortable_by is None or field_name in self.sortable_by
        return super().get_ordering_field(field_name) if is_sortable else None

    def get_results(self, request: HttpRequest) -> None:
        try:
            super().get_results(request)
            self.result_list = list(self.result_list)
            self.model_admin.complete_rows(self.result_list)
        except _IMPOSSIBLE as error:
            raise IncorrectLookupParameters from error  # the admin then shows the list without filters


class ReadOnly(_ModelAdmin):
    """Admin pages without permission to add, change or delete rows."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # a count for each choice of a filter would scan the table
    paginator = Capped

    class Media:
        css: ClassVar = {"all": (STYLE_SHEET,)}

    def complete_rows(self, rows: list[Any]) -> None:
        """Add to the rows of a list page what their columns show, in one query for all rows."""

    def matching(self, request: HttpRequest, term: str) -> Q:
        """The rows for a search term of this user, by an index or among a bounded number of rows.

        Without a search box every row matches; the address of the page may have a term all the same.
        """
        return Q()

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[Any]", search_term: str
    ) -> "tuple[QuerySet[Any], bool]":
        term = search_term.strip()
        return queryset.filter(self.matching(request, term)) if term else queryset, False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # Only those of the filters beside the list. Any other one may scan the table, and tell what the user
        # may not see letter by letter: "?subject__startswith=a", or "?pk__recipient__startswith=a", which
        # Django allows.
        names = (_parameters(each) for each in self.get_list_filter(request))
        return lookup in chain.from_iterable(names)

    def get_changelist(self, request: HttpRequest, **_: Any) -> type[ChangeList]:
        return _List

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        try:
            return super().get_object(request, object_id, from_field)
        except _IMPOSSIBLE:
            return None

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_delete_permission = has_change_permission


def _parameters(list_filter: Any) -> Iterable[str]:
    """The parameters of a filter in the URL of a list."""
    if isinstance(list_filter, str):
        return list_filter, f"{list_filter}__exact"
    return TimeRange.LABELS if issubclass(list_filter, TimeRange) else [list_filter.parameter_name]
