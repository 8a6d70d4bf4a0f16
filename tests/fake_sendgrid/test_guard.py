"""A page of another site cannot read the mails or press the buttons through the developer's browser."""

import re

import pytest
import requests

from fake_sendgrid.client import Client
from tests.support.fake_sendgrid.api_requests import mail_body, post_mail

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("path", ["", "setup", "mails/list", "control/", "control/mails"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8025", "127.0.0.1.evil.example", "[", ""])
def test_a_name_that_resolves_to_this_machine_reads_nothing(double: Client, path: str, host: str) -> None:
    post_mail(double.url)
    response = requests.get(f"{double.page_url}{path}", headers={"Host": host}, timeout=10)
    assert response.status_code == 403
    assert "Your order" not in response.text


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1:9000", "LOCALHOST"])
def test_a_forwarded_port_is_no_obstacle(double: Client, host: str) -> None:
    assert requests.get(double.page_url, headers={"Host": host}, timeout=10).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_site_presses_no_button(double: Client, headers: dict[str, str]) -> None:
    post_mail(double.url)
    token = {"token": page_token(double)}
    assert requests.post(f"{double.page_url}clear", token, headers=headers, timeout=10).status_code == 403
    for method in ("POST", "PATCH", "DELETE"):
        response = requests.request(
            method, f"{double.page_url}control/mails", data="{}", headers={**JSON, **headers}, timeout=10
        )
        assert response.status_code == 403
    assert len(double.mails) == 1


@pytest.mark.parametrize("token", [{}, {"token": ""}, {"token": "guess"}, {"token": "é"}])
def test_a_form_without_the_token_presses_no_button(double: Client, token: dict[str, str]) -> None:
    post_mail(double.url)
    assert requests.post(f"{double.page_url}clear", token, timeout=10).status_code == 403
    assert len(double.mails) == 1


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a", ""],
)
def test_a_type_that_browsers_send_without_asking_controls_nothing(double: Client, content_type: str) -> None:
    post_mail(double.url)
    url, headers = f"{double.page_url}control/reset", {"Content-Type": content_type}
    assert requests.post(url, "{}", headers=headers, timeout=10).status_code == 415
    assert len(double.mails) == 1


def test_a_browser_that_asks_whether_another_site_may_send_is_not_told_so(double: Client) -> None:
    response = requests.options(f"{double.page_url}control/reset", timeout=10)
    assert response.status_code >= 400
    assert not [name for name in response.headers if name.lower().startswith("access-control")]


def test_no_other_page_can_frame_the_buttons(double: Client) -> None:
    post_mail(double.url, mail_body())
    for path in ("", "setup", f"mails/{double.mails[0].id}"):
        headers = requests.get(f"{double.page_url}{path}", timeout=10).headers
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def page_token(double: Client) -> str:
    found = re.search(r'name="token" value="([^"]+)"', requests.get(double.page_url, timeout=10).text)
    assert found
    return found[1]
