"""An id that no row can have is "not found": in every command and on every page of the admin."""

from urllib.parse import quote

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import User
from django.core.management import CommandError
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from tests.support.commands import output_of

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)

IDS = (
    "9" * 30,
    "-1",
    "9223372036854775808",  # over the column's range
    "٣٣",
    "1\0",
    "\udcff",  # a byte of an argument that is not UTF-8
    "x" * 20_000,
)

OPTIONS = {
    "events": ("--message-id", "--address", "--receiver"),
    "inbound": ("--answers", "--address", "--receiver", "--subject"),
    "outbox": ("--message-id", "--message", "--address", "--subject", "--mailer"),
}

CHANGES = {
    "events": (["retry"], ["replay", "--dry-run"]),
    "inbound": (["retry"], ["replay"]),
    "outbox": (["retry"], ["cancel"], ["settle", "--sent"]),
}

MODELS = [model for model in site._registry if model._meta.app_label in ("events_app", "sending_app")]


@pytest.mark.parametrize("command", OPTIONS)
def test_a_command_finds_no_row(database: str, command: str) -> None:
    for text in IDS:
        for arguments in (["--", text], *([f"{option}={text}"] for option in OPTIONS[command])):
            with pytest.raises(CommandError, match=r"No \w+ (has the id|matches)|invalid int value"):
                output_of(command, "show", *arguments)
        for change in CHANGES[command]:
            assert "has the id" in output_of(command, *change, "--", text)
    if command == "inbound":
        for text in IDS:
            with pytest.raises(CommandError, match="has the id"):
                output_of(command, "save", "--", text)


@pytest.mark.parametrize("model", MODELS)
def test_the_admin_has_no_page_and_lists_no_row(database: str, client: Client, model: type[Model]) -> None:
    client.force_login(User.objects.create_superuser("root"))
    listing = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    for text in ("9" * 30, "1\0", "\udcff"):
        sent = text.encode(errors="surrogateescape")
        page = client.get(f"{listing}{quote(sent)}/change/")
        assert page.status_code == 302  # to the start, which says that the row does not exist
        # To the list without filters, where no column can have the value.
        assert client.get(listing, {"q": sent}).status_code in (200, 302)
        assert client.get(listing, {"pk__in": sent}).status_code == 400  # no list has such a filter
