"""An operator in the admin: signs in with some permissions, opens pages, chooses actions and confirms."""

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse


def sign_in(client: Client, *permissions: str, name: str = "operator") -> None:
    """Sign in a new member of staff with these permissions: "events_app.view_event"."""
    operator = User.objects.create_user(name, is_staff=True)
    for app_label in {permission.partition(".")[0] for permission in permissions}:
        create_permissions(apps.get_app_config(app_label), verbosity=0)
    for permission in permissions:
        app_label, _, codename = permission.partition(".")
        found = Permission.objects.get(content_type__app_label=app_label, codename=codename)
        operator.user_permissions.add(found)
    client.force_login(operator)


def sign_in_superuser(client: Client) -> None:
    client.force_login(User.objects.create_superuser("root"))


def url_of(model: str, pk: object = None, view: str = "") -> str:
    """The address of the list, or of a page of a row: url_of("events_app.event", 5)."""
    app_label, _, name = model.partition(".")
    view = view or ("changelist" if pk is None else "change")
    return reverse(f"admin:{app_label}_{name}_{view}", args=[] if pk is None else [pk])


def page(client: Client, model: str, pk: object = None, **query: Any) -> str:
    """The HTML of the list, or of the page of a row."""
    response = client.get(url_of(model, pk), query)
    assert response.status_code == 200
    return response.content.decode()


def act_url(model: str, action: str, pk: object) -> str:
    """The address of the confirmation page of an action on a row: act_url("events_app.event", "retry", 5)."""
    return reverse(f"admin:{model.replace('.', '_')}_act", args=[action, pk])


def choose(client: Client, url: str, action: str, pks: Sequence[object], across: bool = False) -> Any:
    """Choose an action for rows of a list, or for the whole list. The answer is the confirmation page."""
    selection = {"action": action, "select_across": str(int(across)), "_selected_action": list(pks)}
    return client.post(url, {"index": "0", **selection})


def confirm(client: Client, page: Any, url: str, **choices: object) -> Any:
    """Confirm on the confirmation page. The answer is the page that follows."""
    data: dict[str, Any] = {"confirmation": str(page.context["confirmation"]), **choices}
    for name, value in page.context["hidden"]:
        data.setdefault(name, []).append(value)
    return client.post(url, data, follow=True)


def messages_of(answer: Any) -> list[str]:
    """The messages on the page, as text."""
    return [str(message) for message in answer.context["messages"]]


def audit() -> list[tuple[str, str, str]]:
    """The user, the row and the words of each audit line."""
    rows = LogEntry.objects.order_by("pk")
    return list(rows.values_list("user__username", "object_repr", "change_message"))


def audit_lines() -> list[str]:
    """The words of each audit line."""
    return [words for _, _, words in audit()]
