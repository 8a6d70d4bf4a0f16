"""The overview in headless Chromium: it updates by itself, and says when it cannot."""

from collections.abc import Iterator
from pathlib import Path

import django
import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from devstack import chromium
from events_app import tasks
from events_app.shared import redis
from overview_app import admin
from tests.support.browser import CONTRAST, click, errors, eventually, find, needs_browser
from tests.support.events.stored_events import add_pending, open_event, store_done
from tests.support.workers import record_worker

pytestmark = [
    pytest.mark.slow,
    needs_browser,
    pytest.mark.django_db(databases=["default", "postgres"], transaction=True),
]

PASSWORD = "a-password-for-tests-only"

NO_WORKER = "No worker takes new events: queue sendgrid.events."


@pytest.fixture
def browser(
    settings: Settings, live_server: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Chrome]:
    """A browser on the overview of a deployment that is well."""
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False  # the server has no TLS
    monkeypatch.setattr(admin, "INTERVAL", 0.2)
    monkeypatch.setattr(admin.readings, "_kept", 0.1)
    User.objects.create_superuser("root", password=PASSWORD)
    record_worker()
    tasks.record_beat()
    with chromium.running(tmp_path) as browser:
        browser.get(live_server.url)
        for name, text in (("username", "root"), ("password", PASSWORD)):
            browser.find_element(By.NAME, name).send_keys(text)
        browser.find_element(By.CSS_SELECTOR, "[type=submit]").click()
        find(browser, "#overview-state", "All is well.")
        yield browser


def lose_the_workers() -> None:
    redis.for_workers().delete(redis.key("workers"))


def set_theme(browser: Chrome, theme: str) -> None:
    browser.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)


def test_a_problem_appears_and_goes_without_a_reload(browser: Chrome) -> None:
    click(browser, "#overview-numbers summary")
    browser.execute_script("window.isTheSame = true; window.scrollTo(0, 300);")
    lose_the_workers()
    find(browser, ".overview-problem", NO_WORKER, "What to do: Start a worker")
    record_worker()
    find(browser, "#overview-state", "All is well.")
    assert browser.execute_script("return window.isTheSame")
    assert browser.execute_script("return document.querySelector('#overview-numbers').open")
    focused = browser.execute_script("return document.activeElement.tagName")
    assert focused in ("BODY", "SUMMARY")


def test_the_keyboard_keeps_its_place(browser: Chrome) -> None:
    browser.execute_script("document.getElementById('overview-48h').focus(); window.isTheSame = true;")
    lose_the_workers()
    find(browser, ".overview-problem", NO_WORKER)
    assert browser.execute_script("return document.activeElement.id") == "overview-48h"


def test_a_site_that_does_not_answer_is_told_until_it_does(browser: Chrome) -> None:
    browser.execute_cdp_cmd("Network.enable", {})
    conditions = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)
    find(browser, "#overview-fault", "Not updated since ", " UTC: the site does not answer.")
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", {**conditions, "offline": False})
    eventually(
        browser,
        lambda browser: not browser.find_element(By.ID, "overview-fault").text,
        "the fault goes",
    )


def test_an_error_is_told_with_the_lines_of_the_health_url(
    browser: Chrome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OperationalError

    lose_the_workers()
    monkeypatch.setattr(admin.readings, "get", fail)
    find(browser, "#overview-fault", "Not updated since ", f"error: {NO_WORKER}")


def test_an_ended_session_is_told(browser: Chrome) -> None:
    browser.delete_all_cookies()
    find(browser, "#overview-fault", "Not updated since ", "you are logged out. Reload the page to log in.")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_texts_can_be_read(browser: Chrome, theme: str) -> None:
    lose_the_workers()
    (event,) = store_done(open_event("A1"))
    add_pending(event, state="dead", receivers={"shop.receivers.on_event": "Traceback"})
    find(browser, ".overview-problem", "dead letter")
    set_theme(browser, theme)
    texts = ".state, .overview-tile dt, .overview-tile h2, .overview-problem p, .chart text, .overview-head a"

    def least(browser: Chrome) -> float | None:
        # The admin fades from one theme to the other.
        contrasts: list[float] = browser.execute_script(CONTRAST, texts)
        return min(contrasts) if len(contrasts) > 20 and min(contrasts) >= 4.5 else None

    assert eventually(browser, lambda browser: least(browser) or False, "a contrast of 4.5")


def test_a_phone_needs_no_scroll_to_the_side(browser: Chrome) -> None:
    lose_the_workers()
    (event,) = store_done(open_event("A1"))
    add_pending(event, state="dead", receivers={"a_very_long.path.of.a.module.of.receivers.on_event": "x"})
    find(browser, ".overview-tile", "Dead letters")
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390


@pytest.mark.skipif(django.VERSION < (6, 0), reason="Django 5.2 has no Content-Security-Policy.")
def test_no_request_leaves_the_host_and_the_policy_refuses_nothing(
    browser: Chrome, live_server: LiveServer
) -> None:
    lose_the_workers()
    find(browser, ".overview-problem", NO_WORKER)
    requested: list[str] = browser.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert [url for url in requested if "part=1" in url]
    assert not [url for url in requested if not url.startswith(str(live_server.url))]
    assert [error for error in errors(browser) if "favicon.ico" not in error] == []
