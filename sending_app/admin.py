"""Read-only admin pages of the outbox. `manage.py outbox` changes mails."""

from collections.abc import Iterable
from datetime import UTC
from typing import Any

from django.contrib import admin
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.text import Truncator

from events_app.shared.admin import ReadOnly
from sending_app import timeline
from sending_app.filters import MailCriteria, address_forms, as_uuid, find_mails
from sending_app.models import Mail, OpenCircuit, OutboxMessage, Recipient

#: Related rows on a page.
FIRST = 50


@admin.register(OutboxMessage)
class OutboxMessageAdmin(ReadOnly):
    list_display = ("id", "subject", "alias", "created_at")
    readonly_fields = ("first_mails",)
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> "QuerySet[OutboxMessage]":
        return super().get_queryset(request).defer("content")

    @admin.display(description="Mails, the first ones")
    def first_mails(self, message: OutboxMessage) -> str:
        mails = message.mails.order_by("pk").only("state")[:FIRST]
        return format_html_join(", ", "{}", ((_link(mail, str(mail)),) for mail in mails))


@admin.register(Mail)
class MailAdmin(ReadOnly):
    list_display = (
        *("id", "state", "lane", "alias", "recipient_count", "message__subject", "attempts"),
        *("due", "created_at", "first_words"),
    )
    list_filter = ("state",)
    search_fields = ("x_message_id", "recipients__message_id")  # shows the search box; see `matching`
    search_help_text = "A mail's number, or a whole message id or X-Message-Id"
    # The message's row has megabytes: `of_message` links to it instead.
    exclude = ("message", "log", "attempt_token", "account")
    readonly_fields = ("of_message", "first_recipients", "what_happened")
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Mail]":
        mails = super().get_queryset(request).select_related("message")
        return mails.defer("personalizations", "log", "message__content")

    def matching(self, term: str) -> Q:
        """The mails that `manage.py outbox list` finds by an id."""
        return Q(pk__in=list(find_mails(MailCriteria(ids=(term,))).values_list("pk", flat=True)))

    @admin.display(description="Error")
    def first_words(self, mail: Mail) -> str:
        return Truncator(mail.error).chars(80)

    @admin.display(description="Message")
    def of_message(self, mail: Mail) -> str:
        return _link(OutboxMessage(pk=mail.message_id), f"message {mail.message_id}")

    @admin.display(description="Recipients, the first ones")
    def first_recipients(self, mail: Mail) -> str:
        rows = mail.recipients.order_by("pk")[:FIRST]
        return _lines((f"{row.address} ({row.kind}): {row.status}", "", "") for row in rows)

    @admin.display(description="What happened (UTC)")
    def what_happened(self, mail: Mail) -> str:
        ids = set(mail.recipients.values_list("message_id", flat=True))
        return _lines(
            (
                f"{moment.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} {moment.what}",
                moment.recipient,
                f"{moment.reject_reason} {moment.said}".strip(),
            )
            for moment in timeline.of_mail(mail, ids, FIRST)
        )


@admin.register(Recipient)
class RecipientAdmin(ReadOnly):
    list_display = ("id", "address", "kind", "status", "status_at", "message_id", "mail_id")
    search_fields = ("address", "message_id")  # shows the search box; see `matching`
    search_help_text = "A whole address, or a whole message id"
    exclude = ("mail",)
    readonly_fields = ("of_mail",)
    ordering = ("-id",)

    def matching(self, term: str) -> Q:
        message_id = as_uuid(term)
        return Q(message_id=message_id) if message_id else Q(address__in=address_forms(term))

    @admin.display(description="Mail")
    def of_mail(self, row: Recipient) -> str:
        return _link(Mail(pk=row.mail_id), f"mail {row.mail_id}")


@admin.register(OpenCircuit)
class OpenCircuitAdmin(ReadOnly):
    list_display = ("alias", "opened_at", "probe_at", "failures", "status_code", "reason")


def _link(row: Model, words: str) -> str:
    meta: Any = row._meta
    page = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])
    return format_html('<a href="{}">{}</a>', page, words)


def _lines(rows: Iterable[tuple[str, str, str]]) -> str:
    return format_html_join("", "{} {} {}<br>", rows)
