"""The unsubscribe page in headless Chromium: on a phone, light and dark, under its own policy."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django.live_server_helper import LiveServer
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from devstack import chromium
from events_app.shared import own_events
from tests.support.browser import CONTRAST, errors, find, needs_browser
from tests.support.sending.unsubscribe_links import KeptEvents, link, path_of

pytestmark = [
    pytest.mark.slow,
    needs_browser,
    pytest.mark.django_db(databases=["default", "postgres"], transaction=True),
]

WIDTH = 360

#: As long as addresses and names get, without a place to break.
LONG = link(f"{'a' * 60}@{'b' * 60}.example.com", "weekly-newsletter-of-the-shop" * 3)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> KeptEvents:
    kept = KeptEvents()
    monkeypatch.setattr(own_events, "keep", kept, raising=False)
    return kept


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    with chromium.running(tmp_path) as browser:
        chromium.resize(browser, WIDTH, 740)
        yield browser


def test_a_person_unsubscribes_and_undoes_it_on_a_phone(
    browser: Chrome, live_server: LiveServer, kept: KeptEvents
) -> None:
    browser.get(f"{live_server.url}{path_of()}")
    find(browser, "h1", "Unsubscribe?")
    assert kept.events == []
    find(browser, "button", "Unsubscribe").click()
    find(browser, "h1", "You are unsubscribed")
    find(browser, "button", "That was a mistake").click()
    find(browser, "h1", "You are subscribed again")
    find(browser, "button", "Unsubscribe").click()
    find(browser, "h1", "You are unsubscribed")
    assert kept.names == ["group_unsubscribe", "group_resubscribe", "group_unsubscribe"]
    assert errors(browser) == []


@pytest.mark.parametrize("dark", [True, False])
def test_every_page_can_be_read_on_a_phone(
    browser: Chrome, live_server: LiveServer, kept: KeptEvents, dark: bool
) -> None:
    chromium.prefer_dark(browser, dark)
    for path in (path_of(LONG), "/mail/unsubscribe/x"):
        browser.get(f"{live_server.url}{path}")
        find(browser, "h1")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= WIDTH
        contrasts: list[float] = browser.execute_script(CONTRAST, "h1, p, button")
        assert min(contrasts) >= 4.5
        luminous = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (luminous == "rgb(20, 23, 26)") == dark
        for button in browser.find_elements(By.TAG_NAME, "button"):
            assert button.size["height"] >= 44
    # Nothing but the page itself was asked for.
    requested = browser.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert requested == []
    assert [error for error in errors(browser) if " 400 " not in error] == []
