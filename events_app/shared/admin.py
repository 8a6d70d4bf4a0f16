"""Read-only admin pages for large tables."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

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


class ReadOnly(_ModelAdmin):
    """Admin pages without permission to add, change or delete rows."""

    show_full_result_count = False
    paginator = Capped

    def matching(self, term: str) -> Q:
        """The rows for a search term: whole values only, from columns with an index.

        Without a search box every row matches; the address of the page may have a term all the same.
        """
        return Q()

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[Any]", search_term: str
    ) -> "tuple[QuerySet[Any], bool]":
        term = search_term.strip()
        return queryset.filter(self.matching(term)) if term else queryset, False

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_delete_permission = has_change_permission
