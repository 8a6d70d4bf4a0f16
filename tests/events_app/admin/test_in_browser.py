"""The content of an inbound mail in headless Chromium."""

import socket
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer
from selenium.webdriver.common.by import By

from devstack import chromium
from tests.support.browser import find, needs_browser
from tests.support.inbound.mails import keep_mail, sample_mail
from tests.support.operators import audit_lines, url_of

pytestmark = [
    pytest.mark.slow,
    needs_browser,
    pytest.mark.django_db(databases=["default", "postgres"], transaction=True),
]

HTML = """<link rel="preconnect" href="http://127.0.0.1:{port}">
<h1 style="color: #123456">Hello</h1>
<img src="http://127.0.0.1:{port}/pixel.png">
<script>document.querySelector("h1").textContent = "Changed"</script>"""


def test_the_html_of_a_stranger_is_shown_and_can_do_nothing(
    root: Client, settings: Settings, live_server: LiveServer, tmp_path: Path
) -> None:
    settings.SESSION_COOKIE_SECURE = False  # the server has no TLS
    mail = sample_mail()
    tracker = socket.create_server(("127.0.0.1", 0))
    tracker.settimeout(0)
    mail.add_alternative(HTML.replace("{port}", str(tracker.getsockname()[1])), subtype="html")
    url = f"{live_server.url}{url_of('events_app.inboundmail', keep_mail(mail).pk, 'content')}"
    with tracker, chromium.running(tmp_path) as browser:
        browser.get(live_server.url)
        browser.add_cookie({"name": "sessionid", "value": root.cookies["sessionid"].value})
        browser.get(url)
        assert audit_lines() == ["Viewed: content."]
        find(browser, "a", "Show the HTML").click()
        browser.switch_to.frame(browser.find_element(By.NAME, "html-of-the-mail"))
        heading = find(browser, "h1", "Hello")
        assert heading.value_of_css_property("color") == "rgba(18, 52, 86, 1)"
        # The picture has failed to load, and its server has seen no connection.
        assert browser.execute_script("return document.images[0].complete")
        with pytest.raises(BlockingIOError):
            tracker.accept()
    assert audit_lines() == ["Viewed: content.", "Viewed: HTML."]
