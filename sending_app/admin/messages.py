"""The admin pages of messages."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from events_app.shared.admin.page import OwnPage
from events_app.shared.admin.times import utc_time
from events_app.shared.escaping import printable, without_addresses
from sending_app.admin import message_page
from sending_app.admin.viewer import MailViewer
from sending_app.models import OutboxMessage


@admin.register(OutboxMessage)
class OutboxMessageAdmin(OwnPage):
    list_display = ("id", "shown_subject", "alias", "created")
    ordering = ("-id",)
    sortable_by = ("id",)
    change_form_template = "sending_app/admin/message.html"

    def get_queryset(self, request: HttpRequest) -> "QuerySet[OutboxMessage]":
        return super().get_queryset(request).defer("content")

    def page_context(self, request: HttpRequest, row: OutboxMessage) -> dict[str, Any]:
        return message_page.message_context(row, MailViewer(request))

    @admin.display(description="Subject")
    def shown_subject(self, message: OutboxMessage) -> str:
        return printable(without_addresses(message.subject))

    @admin.display(description="Created")
    def created(self, message: OutboxMessage) -> str:
        return utc_time(message.created_at)
