"""Actions on rows: an operator sees a preview and confirms, and every changed row gets an audit line."""

import shlex
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.text import capfirst

from events_app.shared.admin.list_filters import TimeRange
from events_app.shared.admin.read_only import ReadOnly
from events_app.shared.admin.states import STYLE_SHEET
from events_app.shared.changes import Change, Operator, Preview
from events_app.shared.database import SLICE, clean
from events_app.shared.moments import parse_moment

#: Rows that change by one confirmation.
MOST = 10_000

#: The field with the rows of a preview.
_PREVIEWED = "previewed"

#: Confirmations that a session remembers.
_REMEMBERED = 50


class Asked(NamedTuple):
    """What the operator wants, beside the rows."""

    #: The cleaned values of the action's form. Empty for a preview.
    choices: Mapping[str, Any]
    #: The operator chose each row, and not a whole list.
    by_id: bool
    #: The id of the confirmation page.
    confirmation: uuid.UUID


class _Rows(NamedTuple):
    """The rows of a request."""

    ids: Sequence[Any]
    #: The operator chose each row, and not a whole list.
    by_id: bool
    #: The address of the page that leads here.
    back: str
    #: The values by which the request named the rows.
    hidden: Sequence[tuple[str, Any]] = ()


@dataclass(frozen=True)
class Action:
    """An action of a list and of the pages of its rows."""

    #: Also the action's name in the command.
    name: str
    #: The words of the button.
    label: str
    #: Tells the operator in a sentence what happens.
    meaning: str
    #: Makes the change.
    change: Callable[[Asked], Change]
    #: The choices that the operator must make.
    form: type[forms.Form] = forms.Form


class Acting(ReadOnly):
    """Admin pages with actions, for users with the permission `act` of the app.

    The confirmation page of a row has the URL `admin:<app>_<model>_act`, with the name of the action and the
    primary key.
    """

    row_actions: ClassVar[Sequence[Action]] = ()
    #: The command with the same actions for a whole list; empty: there is none.
    command: ClassVar[str]
    #: By the name of a preview's group: the words of its values on the pages.
    preview_words: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    #: The command's options, by the parameters of the list's address that mean the same.
    command_options: ClassVar[Mapping[str, str]] = {"state": "--state", "receiver": "--receiver"}
    #: The command's options for a list of all states, if the list leaves out rows that the command finds.
    command_states: ClassVar[Sequence[str]] = ()

    def __init__(self, model: type[Any], admin_site: AdminSite) -> None:
        super().__init__(model, admin_site)
        self.actions = [_on_list(action) for action in self.row_actions]

    def has_act_permission(self, request: HttpRequest) -> bool:
        user: Any = request.user
        return bool(user.has_perm(f"{self.opts.app_label}.act"))

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_act"
        view = self.admin_site.admin_view(self.act_view)
        return [path("act/<slug:action>/<path:object_id>/", view, name=name), *super().get_urls()]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["buttons"] = list(self._buttons(request, context["original"]))
        return super().render_change_form(request, context, *args, **kwargs)

    def response_action(
        self, request: HttpRequest, queryset: "QuerySet[Any]", *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        if not all(map(self._is_id, request.POST.getlist(ACTION_CHECKBOX_NAME))):
            messages.error(request, "These rows do not exist. Nothing was changed.")
            return None
        return super().response_action(request, queryset, *args, **kwargs)

    def act_on_list(self, action: Action, request: HttpRequest, rows: "QuerySet[Any]") -> HttpResponse | None:
        """Ask for a confirmation, or change the rows. None leads back to the list."""
        ids = list(rows.order_by("pk").values_list("pk", flat=True)[: MOST + 1])
        is_whole_list = request.POST.get("select_across", "0") not in ("", "0")
        if _PREVIEWED in request.POST:
            # Rows that joined the list since the preview are left alone.
            previewed = set(request.POST[_PREVIEWED].split(","))
            ids = [pk for pk in ids if str(pk) in previewed]
        if len(ids) > MOST:
            return self._confirm_page(request, action, too_many=self._command_line(request, action))
        # The confirmation comes back to the list with the same selection.
        names = ("select_across", ACTION_CHECKBOX_NAME)
        selection = [(name, value) for name in names for value in request.POST.getlist(name)]
        # One field: Django refuses a form of more than a thousand.
        hidden = [("action", action.name), *selection, (_PREVIEWED, ",".join(map(str, ids)))]
        rows_of_list = _Rows(ids, not is_whole_list, request.get_full_path(), hidden)
        return self._ask_or_act(request, action, rows_of_list)

    def act_view(self, request: HttpRequest, action: str, object_id: str) -> HttpResponse:
        """The confirmation page of an action on a row."""
        if not self.has_act_permission(request):
            raise PermissionDenied
        found = next((known for known in self.row_actions if known.name == action), None)
        row = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        if found is None or row is None:
            raise Http404
        page = self._url("change", quote(row.pk))
        answer = self._ask_or_act(request, found, _Rows([row.pk], True, page), row=row)
        if answer is not None:
            return answer
        is_there = self.get_object(request, str(row.pk)) is not None
        return HttpResponseRedirect(page if is_there else self._url("changelist"))

    def _buttons(self, request: HttpRequest, row: Any) -> Iterator[dict[str, str]]:
        """The actions that would change the row."""
        if row is None or not self.has_act_permission(request):
            return
        for action in self.row_actions:
            if action.change(Asked({}, True, uuid.uuid4())).find([row.pk]).exists():
                yield {"label": action.label, "url": self._url("act", action.name, quote(row.pk))}

    def _ask_or_act(
        self, request: HttpRequest, action: Action, rows: "_Rows", row: Any = None
    ) -> HttpResponse | None:
        """The confirmation page. After a confirmation: change the rows and return None."""
        is_confirmed = request.method == "POST" and "confirmation" in request.POST
        form = action.form(request.POST if is_confirmed else None)
        if is_confirmed and form.is_valid():
            confirmation = _first_use(request)
            if confirmation is None:
                messages.warning(request, "This page was confirmed before. Nothing more was changed.")
            else:
                change = action.change(Asked(form.cleaned_data, rows.by_id, confirmation))
                self._act(request, change, rows.ids)
            return None
        change = action.change(Asked({}, rows.by_id, uuid.uuid4()))
        preview, matched = change.preview(_slices(rows.ids, change)), len(rows.ids)
        return self._confirm_page(
            *(request, action),
            change=change,
            would=f"This would {change.verb} {preview.would_change} of {change.target.counted(matched)}.",
            preview=preview,
            groups=[
                (count, *map(self._words, change.target.groups, group))
                for group, count in preview.groups.most_common()
            ],
            reasons=list(_reasons(change, preview, matched)),
            form=form,
            confirmation=uuid.uuid4(),
            hidden=rows.hidden,
            back=rows.back,
            row=row,
        )

    def _act(self, request: HttpRequest, change: Change, ids: Sequence[Any]) -> None:
        run = change.run(_slices(ids, change), len(ids), _User(request, change))
        run.apply()
        level = messages.SUCCESS if run.done and run.is_woken else messages.WARNING
        messages.add_message(request, level, " ".join(run.report()))

    def _confirm_page(self, request: HttpRequest, action: Action, **context: Any) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": action.label
            if context.get("row")
            else f"{action.label}: {self.opts.verbose_name_plural}",
            "style_sheet": STYLE_SHEET,
            "subtitle": context.get("row"),
            "opts": self.opts,
            "action": action,
            "most": MOST,
            **context,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "events_app/admin/confirm.html", context)

    def _command_line(self, request: HttpRequest, action: Action) -> dict[str, Any]:
        """The command for the rows of the list, and the parameters of the list that the command lacks."""
        if not self.command:
            return {"line": "", "others": []}
        words, others = ["manage.py", self.command, action.name], []
        for name, value in request.GET.items():
            if not str(value).strip():
                continue
            if name in self.command_options:
                words.append(f"{self.command_options[name]}={value}")
            elif name in TimeRange.LABELS:
                words.append(f"--{name}={_for_command(str(value))}")
            elif name not in ("o", "p", "_facets"):  # the order and the page
                others.append(f"{name}={value}")
        if "state" not in request.GET:
            words += self.command_states
        if len(words) == 3 and not others:
            words.append("--all")
        return {"line": shlex.join([*words, "--dry-run"]), "others": others}

    def _words(self, name: str, value: Any) -> str:
        """A value of a preview's group in the words of the pages."""
        if isinstance(value, tuple):
            return ", ".join(map(str, value))
        return self.preview_words.get(name, {}).get(value, str(value))

    def _is_id(self, text: str) -> bool:
        field: Any = self.opts.pk
        field = field.target_field if field.remote_field else field
        try:
            field.run_validators(field.to_python(text))
        except ValidationError:
            return False
        return text == clean(text)

    def _url(self, page: str, *args: object) -> str:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}"
        return reverse(name, args=args, current_app=self.admin_site.name)


class _User(Operator):
    """The user of the admin. Every changed row gets an audit line, which its history page shows."""

    def __init__(self, request: HttpRequest, change: Change) -> None:
        user: Any = request.user
        self.user_id, self.name, self._change = user.pk, user.get_username(), change

    def record(self, ids: Sequence[Any]) -> None:
        target = self._change.target
        rows: Any = target.model._default_manager.filter(pk__in=ids).only("pk", *target.named_by)
        if ids:
            user_id: Any = self.user_id
            line = f"{capfirst(self._change.description or self._change.done)}."
            LogEntry.objects.log_actions(user_id, rows.order_by("pk"), CHANGE, line)


def _on_list(action: Action) -> Callable[[Acting, HttpRequest, "QuerySet[Any]"], HttpResponse | None]:
    def on_list(page: Acting, request: HttpRequest, rows: "QuerySet[Any]") -> HttpResponse | None:
        return page.act_on_list(action, request, rows)

    on_list.__name__ = action.name
    vars(on_list).update(short_description=action.label, allowed_permissions=("act",))
    return on_list


def _for_command(text: str) -> str:
    """A time of a list for a command, which takes a time without an offset as UTC."""
    is_age = text[:-1].isdigit()
    return text if is_age else parse_moment(text, timezone.get_current_timezone()).isoformat()


def _first_use(request: HttpRequest) -> uuid.UUID | None:
    """The id of the confirmation page; None if this page was confirmed before, or has no id of ours."""
    try:
        confirmation = uuid.UUID(request.POST["confirmation"])
    except ValueError:
        return None
    remembered = request.session.get("confirmed", [])
    if str(confirmation) in remembered:
        return None
    request.session["confirmed"] = [*remembered, str(confirmation)][-_REMEMBERED:]
    request.session.save()  # before the change: a second click comes while the first still works
    return confirmation


def _slices(ids: Sequence[Any], change: Change) -> list[Sequence[Any]]:
    size = change.size or SLICE
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def _reasons(change: Change, preview: Preview, matched: int) -> Iterator[str]:
    """Why rows would be left alone."""
    for name, reason in change.left_alone.items():
        if count := preview.left_alone[name]:
            yield f"{count} left alone: {reason}."
    remaining = matched - preview.would_change - preview.left_alone.total()
    if change.otherwise and remaining > 0:
        yield f"{remaining} {change.otherwise}."
