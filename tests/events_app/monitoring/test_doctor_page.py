"""The page of the doctor: its lines, and who may read them."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

URL = "/admin/doctor/"

pytestmark = pytest.mark.django_db(databases=["default", "postgres"])


def test_superusers_read_the_faults_and_what_to_do(client: Client, settings: Settings) -> None:
    settings.ANYMAIL = {"WEBHOOK_SECRET": "<b>no password</b>"}
    client.force_login(User.objects.create_superuser("root"))
    page = client.get(URL).content.decode()
    assert '<li class="error"><strong>error:</strong> WEBHOOK_SECRET, entry 1' in page
    assert "What to do: The webhook accepts no post with this entry." in page
    assert "<h2>Configuration</h2>" in page
    assert "<b>no password" not in page
    assert "no-store" in client.get(URL)["Cache-Control"]


@pytest.mark.parametrize("staff", [True, False])
def test_other_users_are_sent_to_the_login(client: Client, staff: bool) -> None:
    client.force_login(User.objects.create_user("ann", is_staff=staff))
    answer = client.get(URL)
    assert (answer.status_code, answer["Location"]) == (302, f"/admin/login/?next={URL}")


def test_strangers_are_sent_to_the_login_and_ask_no_server(client: Client) -> None:
    assert client.get(URL).status_code == 302
    assert client.post(URL).status_code == 405
