"""Filters beside the lists of mails and recipients."""

import re
from datetime import datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from events_app.shared.admin.list_filters import ChoiceFilter, TimeRange
from events_app.shared.search import between
from sending_app.account import usable
from sending_app.admin import words
from sending_app.filters import MailCriteria, RecipientOutcome, recipients


class OfRow(admin.SimpleListFilter):
    """The rows of the row that a link comes from. The filter is only shown while it is in use."""

    # `parameter_name` is the name of the foreign key, unless a subclass has a `matching` of its own.

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        pk = request.GET.get(str(self.parameter_name))
        return [(pk, f"{self.title} {pk}")] if pk else []

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any] | None":
        pk = self.value()
        if pk is None:
            return None
        is_number = re.fullmatch(r"[0-9]{1,18}", pk)
        return self.matching(queryset, int(pk)) if is_number else queryset.none()

    def matching(self, rows: "QuerySet[Any]", pk: int) -> "QuerySet[Any]":
        """The rows of the row with this primary key."""
        return rows.filter(**{str(self.parameter_name): pk})


class StateOfMail(ChoiceFilter):
    """Mails by their state."""

    title = "state"
    parameter_name = "state"
    options = words.STATE_NAMES

    def matching(self, rows: "QuerySet[Any]", choice: str) -> "QuerySet[Any]":
        return rows.filter(state=choice)


class SentAt(TimeRange):
    """Mails by the time of `send()`."""

    title = "time sent"

    def between(
        self, rows: "QuerySet[Any]", since: datetime | None, until: datetime | None
    ) -> "QuerySet[Any]":
        return between(rows, "message__created_at", since, until)


class OutcomeForRecipient(ChoiceFilter):
    """Mails by the outcome for a recipient."""

    title = "outcome for a recipient"
    parameter_name = "outcome"
    options: ClassVar = {outcome.value: outcome.value for outcome in RecipientOutcome}

    def matching(self, rows: "QuerySet[Any]", choice: str) -> "QuerySet[Any]":
        return rows.filter(pk__in=recipients(MailCriteria(outcomes=(choice,))).values("mail"))


class OfMessage(OfRow):
    """The mails of a message."""

    title = "message"
    parameter_name = "message"


class OfMail(OfRow):
    """The recipients of a mail."""

    title = "mail"
    parameter_name = "mail"


class OfMailer(ChoiceFilter):
    """Mails of a mailer or an account of the settings."""

    title = "mailer"
    parameter_name = "mailer"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return [(account.alias, account.alias) for account in usable()]

    def matching(self, rows: "QuerySet[Any]", choice: str) -> "QuerySet[Any]":
        return rows.filter(alias=choice)


class Lane(ChoiceFilter):
    """Mails by their lane."""

    title = "lane"
    parameter_name = "lane"
    options = words.LANE_NAMES

    def matching(self, rows: "QuerySet[Any]", choice: str) -> "QuerySet[Any]":
        return rows.filter(lane=choice)


class SentTwice(ChoiceFilter):
    """Mails that SendGrid has accepted twice."""

    title = "sent twice"
    parameter_name = "twice"
    options: ClassVar = {"yes": "Yes"}

    def matching(self, rows: "QuerySet[Any]", choice: str) -> "QuerySet[Any]":
        return rows.filter(sent_twice=True)
