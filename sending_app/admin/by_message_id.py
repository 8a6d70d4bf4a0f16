"""Leads from a message id to the page of the mail. Pages of events know only the message id."""

from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse

from events_app.shared.admin.read_only import ReadOnly
from sending_app.models import Recipient


class ByMessageId(ReadOnly):
    """Admin pages of mails with a URL for each message id."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.of_message_id_view)
        url = path("of/<uuid:message_id>/", view, name="sending_app_mail_of_message_id")
        return [url, *super().get_urls()]

    def of_message_id_view(self, request: HttpRequest, message_id: UUID) -> HttpResponse:
        """Redirect to the page of the mail. Without such a mail, to the list, where the search finds none."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        mail = Recipient.objects.filter(message_id=message_id).values_list("mail", flat=True).first()
        if mail is None:
            return redirect(f"{reverse('admin:sending_app_mail_changelist')}?q={message_id}")
        return redirect("admin:sending_app_mail_change", mail)
