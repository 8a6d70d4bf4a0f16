"""Filters beside the list of suppressed addresses, and of the mails to one."""

from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from django.http import HttpRequest

from events_app.shared.admin.list_filters import ChoiceFilter
from events_app.shared.database import AnyOf, sql_now
from events_app.shared.search import newest_ids
from sending_app.admin.list_filters import OfRow
from sending_app.admin.suppressed import REASON_NAMES, scope_words
from sending_app.admin.suppression_page import SOURCE_NAMES
from sending_app.models import Recipient, Suppression
from sending_app.suppression.manual import in_force, using

#: Rows whose scopes are choices, and most choices of scopes.
NEWEST, MOST_SCOPES = 1000, 20


class StateOfSuppression(ChoiceFilter):
    """Suppressions by their state: a key of `suppression_page.STATES`."""

    title = "state"
    parameter_name = "state"
    options: ClassVar = {"active": "active", "expired": "expired", "ended": "ended"}

    def matching(self, rows: "QuerySet[Any]", choice: str) -> "QuerySet[Any]":
        return rows.filter(
            {
                "active": in_force(using()),
                "expired": Q(active=True, until__lte=sql_now(using())),
                "ended": Q(active=False),
            }[choice]
        )


class ReasonOfSuppression(ChoiceFilter):
    """Suppressions by their reason."""

    title = "reason"
    parameter_name = "reason"
    options = REASON_NAMES

    def matching(self, rows: "QuerySet[Any]", choice: str) -> "QuerySet[Any]":
        return rows.filter(reason=choice)


class SourceOfSuppression(ChoiceFilter):
    """Suppressions by the source of their last word."""

    title = "source"
    parameter_name = "source"
    options = SOURCE_NAMES

    def matching(self, rows: "QuerySet[Any]", choice: str) -> "QuerySet[Any]":
        return rows.filter(source=choice)


class ScopeOfSuppression(ChoiceFilter):
    """Suppressions by their scope. The choices are all mail, and the scopes of the newest rows."""

    title = "mail"
    parameter_name = "scope"
    #: All mail, which has no name: Django takes an empty choice for none.
    ALL_MAIL = "-"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        newest = Suppression.objects.order_by("-pk").values_list("scope", flat=True)[:NEWEST]
        scopes = sorted({*newest} - {"", self.ALL_MAIL})[:MOST_SCOPES]
        chosen = request.GET.get(self.parameter_name) or self.ALL_MAIL
        choices = dict.fromkeys((self.ALL_MAIL, *scopes, chosen))
        return [(scope, scope_words("" if scope == self.ALL_MAIL else scope)) for scope in choices]

    def matching(self, rows: "QuerySet[Any]", choice: str) -> "QuerySet[Any]":
        return rows.filter(scope="" if choice == self.ALL_MAIL else choice)


class MailsOfSuppression(OfRow):
    """The newest mails to the address of a suppression."""

    title = "suppressed address"
    parameter_name = "suppression"

    def matching(self, rows: "QuerySet[Any]", pk: int) -> "QuerySet[Any]":
        address = Suppression.objects.filter(pk=pk).values("address")
        recipients = Recipient.objects.filter(address__in=address)
        return rows.filter(AnyOf("pk", sorted(newest_ids(recipients, "mail"))))
