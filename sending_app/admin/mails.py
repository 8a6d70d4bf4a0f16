"""The admin pages of mails."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.text import Truncator

from events_app.shared.admin.actions import Acting
from events_app.shared.admin.erase_link import WithEraseLink
from events_app.shared.admin.masking import MaskedAddresses
from events_app.shared.admin.times import utc_time
from events_app.shared.escaping import one_line, printable, without_addresses
from sending_app.admin import mail_page, words
from sending_app.admin.actions import MAIL_ACTIONS
from sending_app.admin.by_message_id import ByMessageId
from sending_app.admin.content_views import WithContent
from sending_app.admin.counts import Counts, counts_by_mail
from sending_app.admin.list_filters import (
    Lane,
    OfMailer,
    OfMessage,
    OutcomeForRecipient,
    SentAt,
    SentTwice,
    StateOfMail,
)
from sending_app.admin.suppression_filters import MailsOfSuppression
from sending_app.admin.viewer import MailViewer
from sending_app.filters import search_mails
from sending_app.models import Mail, Recipient


@admin.register(Mail)
class MailAdmin(Acting, WithEraseLink, ByMessageId, WithContent, MaskedAddresses):
    row_actions = MAIL_ACTIONS
    command = "outbox"
    command_options: ClassVar = {
        "message": "--message",
        "state": "--state",
        "outcome": "--outcome",
        "mailer": "--mailer",
        "lane": "--lane",
    }
    preview_words: ClassVar = {"state": words.STATE_NAMES, "lane": words.LANE_NAMES}
    list_display = (
        *("id", "shown_state", "subject", "first_recipient", "others"),
        *("why", "created", "attempts", "alias"),
    )
    list_filter = (
        *(OfMessage, MailsOfSuppression, StateOfMail, OutcomeForRecipient),
        *(SentAt, OfMailer, Lane, SentTwice),
    )
    # Only the primary key has an index for the order of a list.
    sortable_by = ("id",)
    list_per_page = 50
    search_fields = ("x_message_id", "recipients__message_id")  # shows the search box; see `matching`
    search_help_text = (
        "An address or its beginning, words of the subject, a tag, metadata as KEY=VALUE, a mail's number, "
        "a message id or an X-Message-Id"
    )
    ordering = ("-id",)
    address_fields = ("first_recipient",)
    change_form_template = "sending_app/admin/mail.html"

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Mail]":
        mails = super().get_queryset(request).select_related("message")
        return mails.defer("personalizations", "log", "message__content")

    def matching(self, request: HttpRequest, term: str) -> Q:
        return search_mails(term, by_part=self.shows_addresses(request))

    def complete_rows(self, rows: list[Any]) -> None:
        counts = counts_by_mail(mail.pk for mail in rows)
        firsts = Recipient.objects.filter(pk__in=[each.first for each in counts.values()])
        addresses = dict(firsts.order_by().values_list("mail", "address"))
        for mail in rows:
            mail.counts = counts.get(mail.pk, Counts())
            mail.first_recipient = addresses.get(mail.pk, "")

    def page_context(self, request: HttpRequest, row: Mail) -> dict[str, Any]:
        return mail_page.mail_context(row, MailViewer(request))

    @admin.display(description="State")
    def shown_state(self, mail: Any) -> str:
        return words.shown_state(mail, mail.counts)

    @admin.display(description="Subject")
    def subject(self, mail: Mail) -> str:
        return Truncator(printable(without_addresses(mail.message.subject))).chars(80)

    @admin.display(description="First recipient")
    def first_recipient(self, mail: Any) -> str:
        address: str = mail.first_recipient
        return address

    @admin.display(description="Others")
    def others(self, mail: Mail) -> str:
        return f"+{mail.recipient_count - 1}" if mail.recipient_count > 1 else ""

    @admin.display(description="Created")
    def created(self, mail: Mail) -> str:
        return utc_time(mail.message.created_at)

    @admin.display(description="Why")
    def why(self, mail: Mail) -> str:
        return Truncator(one_line(without_addresses(mail.error))).chars(80)
