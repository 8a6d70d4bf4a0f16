"""The admin page of a row with a template of its own in place of a form."""

from typing import Any

from django.http import HttpRequest, HttpResponse

from events_app.shared.admin.read_only import ReadOnly


class OwnPage(ReadOnly):
    """Read-only admin pages whose page of a row is `change_form_template`.

    The template extends "events_app/admin/page.html".
    """

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """The variables of the template."""
        raise NotImplementedError

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return []  # a form would read every column

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context |= self.page_context(request, context["original"])
        return super().render_change_form(request, context, *args, **kwargs)
