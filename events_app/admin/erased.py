"""The admin pages of erased persons, and the page that erases a person.

A request has little time, and an erasure reads every stored event. So the page counts first, and offers the
erasure only if the count came to its end: otherwise it shows the command.
"""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import InterfaceError, OperationalError
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from events_app.models import ErasedPerson
from events_app.personal_data import erasure
from events_app.personal_data.erasure import ErasureFailed, Progress
from events_app.shared.addresses import comparable
from events_app.shared.admin.erase_link import WithEraseLink, may_erase
from events_app.shared.admin.page import OwnPage
from events_app.shared.admin.states import STYLE_SHEET
from events_app.shared.admin.times import utc_time
from events_app.shared.changes import Operator
from events_app.shared.database import DatabaseUnavailable
from events_app.shared.personal_data.person import Person

_log = logging.getLogger(__name__)

#: Seconds of a count, and of an erasure. A load balancer or a browser gives up after 30 and more.
COUNT_SECONDS, ERASE_SECONDS = 5.0, 20.0

_UNAVAILABLE = (DatabaseUnavailable, OperationalError, InterfaceError)


class _Form(forms.Form):
    """The address; on the second page once more, as the confirmation."""

    address = forms.CharField(
        label="Address of the person",
        max_length=320,
        widget=forms.TextInput(attrs={"autocomplete": "off", "inputmode": "email"}),
    )

    def clean_address(self) -> str:
        address: str = self.cleaned_data["address"].strip()
        local, _, domain = address.rpartition("@")
        if not local or not domain:
            raise forms.ValidationError("Write a whole address, such as ann@example.com.")
        return address


class _ConfirmForm(_Form):
    address = forms.CharField(widget=forms.HiddenInput)
    confirmed = forms.CharField(
        label="Type the address again to erase the person",
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off", "inputmode": "email"}),
    )

    def clean(self) -> dict[str, Any]:
        values = self.cleaned_data
        if comparable(values.get("confirmed", "")) != comparable(values.get("address", "")):
            self.add_error("confirmed", "This is another address. Nothing was erased.")
        return values


class _User(Operator):
    def __init__(self, request: HttpRequest) -> None:
        user: Any = request.user
        self.user_id, self.name = user.pk, user.get_username()


@dataclass
class Tally:
    """The numbers of a count or an erasure."""

    #: By place.
    counts: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    notes: list[str] = field(default_factory=list)
    #: Whether the time was enough.
    is_whole: bool = False
    #: Why the run ended early, in a sentence; empty: it did not fail.
    fault: str = ""

    def add(self, steps: Iterable[Progress], seconds: float) -> None:
        """Take the steps one by one, until the end or until the time is up."""
        end = time.monotonic() + seconds
        try:
            for step in steps:
                self.counts[step.place].update(step.counts)
                self.notes += [step.note] * bool(step.note and step.note not in self.notes)
                if time.monotonic() > end:
                    return
        except ErasureFailed as error:
            self.fault = str(error)
        except _UNAVAILABLE as error:
            self.fault = f"The database does not answer ({type(error).__name__}). Try again when it does."
        else:
            self.is_whole = True

    @property
    def rows(self) -> list[tuple[str, str]]:
        """The places with their numbers in words."""
        return [(place, _words(counts)) for place, counts in self.counts.items()]

    @property
    def summary(self) -> str:
        return "; ".join(f"{place}: {words}" for place, words in self.rows if words != _NOTHING)


_NOTHING = "nothing"


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or _NOTHING


@admin.register(ErasedPerson)
class ErasedPersonAdmin(WithEraseLink, OwnPage):
    list_display = ("id", "pseudonym", "shown_at")
    ordering = ("-id",)
    sortable_by = ("id",)
    change_form_template = "events_app/admin/row.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.erase_view)
        return [path("erase/", view, name="events_app_erasedperson_erase"), *super().get_urls()]

    def page_context(self, request: HttpRequest, row: ErasedPerson) -> dict[str, Any]:
        return {
            "title": f"Erased person {row.pk}",
            "subtitle": None,
            "advice": "The pseudonym stands for the person's address. Nobody can compute the address.",
            "facts": [("Pseudonym", row.pseudonym), ("Erased", utc_time(row.erased_at))],
        }

    @admin.display(description="Erased")
    def shown_at(self, row: ErasedPerson) -> str:
        return utc_time(row.erased_at)

    # An erasure commits in slices, and error reports show no address.
    @method_decorator(non_atomic_requests)
    @method_decorator(sensitive_post_parameters("address", "confirmed"))
    def erase_view(self, request: HttpRequest) -> HttpResponse:
        """Ask for an address, count, ask for a confirmation, and erase."""
        if not may_erase(request):
            raise PermissionDenied
        if request.method != "POST":
            return self._page(request, form=_Form())
        form = _Form(request.POST)
        if not form.is_valid():
            return self._page(request, form=form)
        person = Person(form.cleaned_data["address"])
        tally = Tally(fault=_missing_key(person))
        if tally.fault:
            return self._page(request, tally=tally)
        if "confirmed" not in request.POST:
            tally.add(erasure.count([person]), COUNT_SECONDS)
            return self._page(request, tally=tally, form=_ConfirmForm(initial={"address": person.written}))
        confirmation = _ConfirmForm(request.POST)
        if not confirmation.is_valid():
            tally.add(erasure.count([person]), COUNT_SECONDS)
            return self._page(request, tally=tally, form=confirmation)
        tally.add(erasure.erase([person], _User(request)), ERASE_SECONDS)
        self._record(request, person, tally)
        return self._page(request, tally=tally, erased=True)

    def _record(self, request: HttpRequest, person: Person, tally: Tally) -> None:
        """Leave an audit line at the row, which has the pseudonym alone."""
        row = ErasedPerson.objects.filter(pseudonym=person.pseudonym).first()
        if row is not None:
            end = "Erased." if tally.is_whole else "Erasure begun, and broken off."
            self.log_change(request, row, f"{end} {tally.summary}".strip())

    def _page(self, request: HttpRequest, **context: Any) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Erase a person",
            "style_sheet": STYLE_SHEET,
            "opts": self.opts,
            **context,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "events_app/admin/erase.html", context)


def _missing_key(person: Person) -> str:
    """Why there is no pseudonym for the person; empty: there is one."""
    try:
        _ = person.pseudonym
    except ImproperlyConfigured as error:
        return f"{str(error).rstrip('.')}. Nobody can be erased until then."
    return ""
