"""The content of a mail: a page, the HTML as a document of its own, and attachments as downloads.

Each response requires the permission `view_content`, and leaves an audit line.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.views.decorators.http import require_safe

from events_app.shared.admin.audit import record_view
from events_app.shared.admin.content import download, html_document
from events_app.shared.admin.page import OwnPage
from events_app.shared.escaping import printable
from sending_app import encryption, outbox
from sending_app.admin.contents import head_of
from sending_app.admin.json_text import pretty_json
from sending_app.admin.viewer import MailViewer
from sending_app.mail import Personalization
from sending_app.models import Attachment, Mail

#: Most personalizations on the page.
MOST = 50

#: Most characters of a text on the page.
MAX_TEXT = 200_000


class WithContent(OwnPage):
    """Admin pages of mails with views for their content."""

    def get_urls(self) -> list[URLPattern]:
        views: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "content": ("<path:object_id>/content/", self.content_view),
            "html": ("<path:object_id>/content/html/", self.html_view),
            "attachment": ("<path:object_id>/attachments/<int:pk>/", self.attachment_view),
        }
        return [
            path(route, self.admin_site.admin_view(require_safe(view)), name=f"sending_app_mail_{name}")
            for name, (route, view) in views.items()
        ] + super().get_urls()

    def content_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The page with everything but the HTML, which a frame of the page shows."""
        mail = self._mail(request, object_id)
        head, viewer = head_of(mail.message), MailViewer(request)
        if head.removed:
            raise Http404("The content was removed at the end of its retention.")
        record_view(request, mail, "content")
        personalizations = _personalizations(mail)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": mail,
            "media": self.media,
            "has_view_permission": True,
            "title": f"Content of mail {mail.pk}: {viewer.text(mail.message.subject)}",
            "fault": head.fault,
            "has_html": _html(head.forms) is not None,
            "texts": [
                (printable(kind), printable(text[:MAX_TEXT]))
                for kind, text in head.forms
                if kind != "text/html"
            ],
            "global_data": head.global_data and _as_text(head.global_data, viewer),
            "personalizations": [
                (_addresses(each, viewer), _as_text(_data_of(each), viewer))
                for each in personalizations[:MOST]
                if _data_of(each)
            ],
            "left_out": max(0, len(personalizations) - MOST),
        }
        return TemplateResponse(request, "sending_app/admin/content.html", context)

    def html_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The HTML alone, for the frame."""
        mail = self._mail(request, object_id)
        html = _html(head_of(mail.message).forms)
        if html is None:
            raise Http404("The mail has no HTML.")
        record_view(request, mail, "HTML")
        return html_document(html)

    def attachment_view(self, request: HttpRequest, object_id: str, pk: int) -> HttpResponse:
        """An attachment of the mail's message, as a download."""
        mail = self._mail(request, object_id)
        # Compared here: a database refuses a number that no column can have.
        if pk not in Attachment.objects.filter(message=mail.message_id).values_list("pk", flat=True):
            raise Http404("The mail has no such attachment.")
        record_view(request, mail, f"attachment {pk}")
        file = Attachment.objects.get(pk=pk)
        try:
            return download(encryption.decrypt(file.content), file.filename)
        except encryption.Undecryptable as error:
            raise Http404(f"{error}.") from None

    def _mail(self, request: HttpRequest, object_id: str) -> Mail:
        mail: Mail | None = self.get_object(request, object_id)
        if not self.has_view_permission(request, mail) or not MailViewer(request).content:
            raise PermissionDenied
        if mail is None:
            raise Http404("There is no such mail.")
        return mail


def _html(forms: list[tuple[str, str]]) -> str | None:
    return next((text for kind, text in forms if kind == "text/html"), None)


def _personalizations(mail: Mail) -> list[Personalization]:
    try:
        return outbox.personalizations_of(mail)
    except (msgspec.MsgspecError, encryption.Undecryptable):
        return []


def _addresses(personalization: Personalization, viewer: MailViewer) -> str:
    return ", ".join(viewer.address(address["email"]) for address in personalization.to)


def _data_of(personalization: Personalization) -> dict[str, Any]:
    """The data of the personalization that is not empty."""
    names = ("merge_data", "metadata", "headers", "given")
    return {name: getattr(personalization, name) for name in names if getattr(personalization, name)}


def _as_text(data: dict[str, Any], viewer: MailViewer) -> str:
    return viewer.text(pretty_json(msgspec.json.encode(data)))
