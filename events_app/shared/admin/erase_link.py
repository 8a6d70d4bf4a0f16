"""A link to the page that erases a person, beside lists and on pages of rows with addresses."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from events_app.shared.admin.read_only import ReadOnly


def may_erase(request: HttpRequest) -> bool:
    user: Any = request.user
    return bool(user.has_perm("events_app.erase"))


def erase_buttons(request: HttpRequest) -> list[dict[str, str]]:
    """The link as the buttons of a page; empty for who may not erase. The address is not in the link."""
    if not may_erase(request):
        return []
    return [{"label": "Erase a person", "url": reverse("admin:events_app_erasedperson_erase")}]


class WithEraseLink(ReadOnly):
    """A list with the link."""

    change_list_template = "events_app/admin/list_with_buttons.html"

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {"list_buttons": erase_buttons(request), **(extra_context or {})}
        return super().changelist_view(request, context)
