"""The outbox, to look at. Nothing here can be changed by hand: `manage.py outbox` does that."""

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
from sending_app.filters import Criteria, as_uuid, find, forms
from sending_app.models import Mail, OpenCircuit, OutboxMessage, Recipient

#: Rows that a page has beside its own, the first ones.
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
        *("id", "state", "lane", "alias", "recipient_count", "subject", "attempts"),
        *("due", "created_at", "first_words"),
    )
    list_filter = ("state",)
    search_fields = ("x_message_id", "recipients__message_id")  # shows the box; get_search_results looks
    search_help_text = "A mail's number, or a whole message id or X-Message-Id"
    # What it belongs to is shown by its number: the row has megabytes.
    # The next two mean nothing to people, and the last one is said where it is so.
    exclude = ("message", "log", "attempt_token", "account", "sent_twice")
    readonly_fields = ("of_message", "first_recipients", "what_happened")
    ordering = ("-id",)

    def get_readonly_fields(self, request: HttpRequest, obj: Mail | None = None) -> tuple[str, ...]:
        return (*(("twice",) if obj and obj.sent_twice else ()), *self.readonly_fields)

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Mail]":
        mails = super().get_queryset(request).select_related("message")
        return mails.defer("personalizations", "log", "message__content")

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[Mail]", search_term: str
    ) -> "tuple[QuerySet[Mail], bool]":
        """What `manage.py outbox list` finds by an id."""
        if term := search_term.strip():
            queryset = queryset.filter(pk__in=list(find(Criteria(ids=(term,))).values_list("pk", flat=True)))
        return queryset, False

    @admin.display(description="Subject")
    def subject(self, mail: Mail) -> str:
        return mail.message.subject

    @admin.display(description="Error")
    def first_words(self, mail: Mail) -> str:
        return Truncator(mail.error).chars(80)

    @admin.display(description="Sent twice")
    def twice(self, mail: Mail) -> str:
        return "SendGrid has accepted it in two requests."

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
    search_fields = ("address", "message_id")  # shows the box; get_search_results looks
    search_help_text = "A whole address, or a whole message id"
    exclude = ("mail",)
    readonly_fields = ("of_mail",)
    ordering = ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[Recipient]", search_term: str
    ) -> "tuple[QuerySet[Recipient], bool]":
        """Whole values alone: the two columns have an index."""
        if term := search_term.strip():
            ours = as_uuid(term)
            queryset = queryset.filter(Q(message_id=ours) if ours else Q(address__in=forms(term)))
        return queryset, False

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
