"""A browser, and a site where an operator is logged in."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from devstack import chromium
from tests.support.browser import find

PASSWORD = "a-password-for-tests-only"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    with chromium.running(tmp_path) as browser:
        yield browser


@pytest.fixture
def site(settings: Settings, live_server: LiveServer, browser: Chrome) -> str:
    """The address of the site, where an operator is logged in."""
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False  # the server has no TLS
    User.objects.create_superuser("ann", password=PASSWORD)
    browser.get(f"{live_server.url}/admin/")
    for name, text in (("username", "ann"), ("password", PASSWORD)):
        browser.find_element(By.NAME, name).send_keys(text)
    browser.find_element(By.CSS_SELECTOR, "[type=submit]").click()
    find(browser, "#user-tools", "LOG OUT")
    return str(live_server.url)
