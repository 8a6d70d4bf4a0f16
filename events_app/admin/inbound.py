"""The admin pages of inbound mails."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from events_app.admin import filters as list_filters
from events_app.admin.actions import INBOUND_ACTIONS
from events_app.admin.inbound_content import attached_files, content_context
from events_app.admin.inbound_page import inbound_context
from events_app.admin.words import STATE_NAMES, delivery_word
from events_app.decode import Unreadable
from events_app.dispatch.filters import pending_of, state_of
from events_app.dispatch.kinds import Unavailable
from events_app.inbound import filters, store
from events_app.inbound.message import InboundMessage
from events_app.models import InboundMail
from events_app.shared.admin.actions import Acting
from events_app.shared.admin.audit import record_view
from events_app.shared.admin.content import download, html_document
from events_app.shared.admin.erase_link import WithEraseLink
from events_app.shared.admin.links import link_to, mail_link
from events_app.shared.admin.masking import MaskedAddresses
from events_app.shared.admin.page import OwnPage
from events_app.shared.admin.times import utc_time
from events_app.shared.admin.viewer import Viewer


@admin.register(InboundMail)
class InboundMailAdmin(Acting, WithEraseLink, OwnPage, MaskedAddresses):
    change_form_template = "events_app/admin/inbound.html"
    row_actions = INBOUND_ACTIONS
    preview_words: ClassVar = {"state": STATE_NAMES}
    command = "inbound"
    address_fields = ("sender", "recipient")
    list_display = (
        *("id", "received", "delivery", "sender", "recipient"),
        *("subject", "answered", "original"),
    )
    list_filter = (
        list_filters.DeliveryState,
        list_filters.FailedInboundReceiver,
        list_filters.ReceivedAt,
    )
    # Only the primary key has an index for the order of a list.
    sortable_by = ("id",)
    search_fields = ("sender", "message_id")  # shows the search box; see `matching`
    search_help_text = (
        "An address or its beginning, words of the subject, a Message-ID, a mail's number, or the id of the "
        "message it answers"
    )
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> "QuerySet[InboundMail]":
        mails = super().get_queryset(request).select_related("pending")
        return mails.defer("pending__receivers", "pending__error")

    def get_list_display(self, request: HttpRequest) -> Any:
        viewer = Viewer(request, self.opts.app_label)

        @admin.display(description="subject")
        def subject(mail: InboundMail) -> str:
            return viewer.line(mail.subject)

        columns = super().get_list_display(request)
        return [subject if column == "subject" else column for column in columns]

    def matching(self, request: HttpRequest, term: str) -> Q:
        return filters.search_inbound_mails(term, by_part=self.shows_addresses(request))

    def page_context(self, request: HttpRequest, row: InboundMail) -> dict[str, Any]:
        return inbound_context(row, Viewer(request, self.opts.app_label))

    def get_urls(self) -> list[URLPattern]:
        views: dict[str, Callable[..., HttpResponse]] = {
            "<int:pk>/content/": self.content_view,
            "<int:pk>/html/": self.html_view,
            "<int:pk>/file/<int:number>/": self.file_view,
            "<int:pk>/mail/": self.mail_view,
            "<int:pk>/post/": self.post_view,
        }
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            *(
                path(route, self.admin_site.admin_view(view), name=f"{name}_{route.split('/')[1]}")
                for route, view in views.items()
            ),
            *super().get_urls(),
        ]

    def content_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The mail's texts, headers and files."""
        mail = self._mail(request, pk)
        message, error = _read(mail)
        viewer = Viewer(request, self.opts.app_label)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "original": mail,
            "title": f"Content of inbound mail {mail.pk}",
            "has_view_permission": True,
            "error": error,
            "shows_addresses": viewer.addresses,
        }
        if message is not None:
            record_view(request, mail, "content")
            context |= content_context(message, viewer)
        return TemplateResponse(request, "events_app/admin/inbound_content.html", context)

    def html_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The mail's HTML, for the frame of `content_view`."""
        mail = self._mail(request, pk)
        html = _message(mail).html
        if html is None:
            raise Http404("The mail has no HTML.")
        record_view(request, mail, "HTML")
        return html_document(html)

    def file_view(self, request: HttpRequest, pk: int, number: int) -> HttpResponse:
        """A file of the mail, by its number in `content_view`."""
        mail = self._mail(request, pk)
        files = attached_files(_message(mail))
        if number >= len(files):
            raise Http404("The mail has no file of this number.")
        record_view(request, mail, f"file {number + 1}")
        return download(files[number].get_content_bytes(), files[number].get_filename(""))

    def mail_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The mail as an .eml file."""
        mail = self._mail(request, pk, with_addresses=True)
        source = _message(mail).as_bytes()
        record_view(request, mail, "the whole mail")
        return download(source, f"inbound-{pk}.eml")

    def post_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """SendGrid's post as a file."""
        mail = self._mail(request, pk, with_addresses=True)
        try:
            post = store.body(mail)
        except Unavailable as error:
            raise Http404(str(error)) from error
        record_view(request, mail, "the whole post")
        return download(post, f"inbound-{pk}.form")

    @admin.display(description="received")
    def received(self, mail: InboundMail) -> str:
        return utc_time(mail.received_at)

    @admin.display(description="answers")
    def answered(self, mail: InboundMail) -> str:
        return mail_link(mail.answers, "mail")

    @admin.display(description="duplicate of")
    def original(self, mail: InboundMail) -> str:
        first = mail.duplicate_of_id
        return link_to(InboundMail(pk=first), str(first)) if first else ""

    @admin.display(description="delivery")
    def delivery(self, mail: InboundMail) -> str:
        return delivery_word(state_of(pending_of(mail)))

    def _mail(self, request: HttpRequest, pk: int, *, with_addresses: bool = False) -> InboundMail:
        """The mail, if the user may view its content."""
        mail: InboundMail | None = self.get_object(request, str(pk))
        viewer = Viewer(request, self.opts.app_label)
        may_view = self.has_view_permission(request, mail) and viewer.content
        if not may_view or (with_addresses and not viewer.addresses):
            raise PermissionDenied
        if mail is None:
            raise Http404("No inbound mail has this number.")
        return mail


def _read(mail: InboundMail) -> tuple[InboundMessage | None, str]:
    """The message, or why no message can be shown."""
    try:
        return store.parse_mail(mail).message, ""
    except (Unreadable, Unavailable) as error:
        return None, str(error)


def _message(mail: InboundMail) -> InboundMessage:
    message, error = _read(mail)
    if message is None:
        raise Http404(error)
    return message
