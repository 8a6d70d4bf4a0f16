"""Filters beside the lists of the admin. After an invalid value the admin shows the list without filters."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, ClassVar

from django.contrib.admin import ListFilter, ModelAdmin, SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from events_app.shared.moments import parse_moment


class ChoiceFilter(SimpleListFilter):
    """Rows by one of a few choices. A subclass has `title`, `parameter_name`, `options` and `matching`."""

    #: The words of each choice, by its value in the address of the page.
    options: ClassVar[dict[str, str]]

    def matching(self, rows: "QuerySet[Any]", choice: str) -> "QuerySet[Any]":
        """The rows that match the choice."""
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: "ModelAdmin[Any]") -> list[tuple[Any, str]]:
        return list(self.options.items())

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        choice = self.value()
        if choice is None:
            return queryset
        if choice not in dict(self.lookup_choices):
            raise IncorrectLookupParameters
        return self.matching(queryset, choice)


class TimeRange(ListFilter):
    """Rows of a time range: of the last hour, day or week, or from one time until another.

    A time in the address of the page is an age such as 2h, or an ISO time in Django's current time zone. A
    subclass has `title` and `between`.
    """

    template = "events_app/admin/time_range.html"
    AGES: ClassVar[dict[str, str]] = {"": "Any time", "1h": "Last hour", "1d": "Last day", "1w": "Last week"}
    LABELS: ClassVar[dict[str, str]] = {"since": "From", "until": "Until"}

    def __init__(
        self,
        request: HttpRequest,
        params: dict[str, Any],
        model: type[Model],
        model_admin: "ModelAdmin[Any]",
    ) -> None:
        super().__init__(request, params, model, model_admin)
        texts = {name: params.pop(name)[-1].strip() for name in self.LABELS if name in params}
        self.used_parameters = texts
        zone = timezone.get_current_timezone()
        try:
            self.times = {
                name: parse_moment(text, zone).astimezone(zone) for name, text in texts.items() if text
            }
        except (ValueError, OverflowError) as error:
            raise IncorrectLookupParameters from error

    def between(
        self, rows: "QuerySet[Any]", since: datetime | None, until: datetime | None
    ) -> "QuerySet[Any]":
        """The rows of `since` or later, and before `until`."""
        raise NotImplementedError

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        since, until = (self.times.get(name) for name in self.LABELS)
        return self.between(queryset, since, until) if since or until else queryset

    def expected_parameters(self) -> list[str | None]:
        return list(self.LABELS)

    def has_output(self) -> bool:
        return True

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        names = list(self.LABELS)
        others = changelist.filter_params.items()
        self.other_parameters = [
            (name, value) for name, values in others if name not in names for value in values
        ]
        chosen = tuple(self.used_parameters.get(name, "") for name in names)
        for age, words in self.AGES.items():
            yield {
                "selected": chosen == (age, ""),
                "query_string": changelist.get_query_string({"since": age} if age else {}, remove=names),
                "display": words,
            }

    @property
    def inputs(self) -> Iterator[dict[str, str]]:
        """The inputs of the form, with the times of the list."""
        for name, label in self.LABELS.items():
            time = self.times.get(name)
            value = "" if time is None else time.replace(tzinfo=None).isoformat(timespec="seconds")
            yield {"name": name, "label": label, "value": value}
