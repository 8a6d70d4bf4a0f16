"""The pages of suppressed addresses, and the page that erases a person, in headless Chromium."""

from collections.abc import Callable

import django
import pytest
from django.urls import reverse
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from events_app.models import ErasedPerson
from sending_app.models import Suppression
from tests.support.browser import errors, find, needs_browser
from tests.support.sending.suppressed_addresses import suppressed

pytestmark = [
    pytest.mark.slow,
    needs_browser,
    pytest.mark.skipif(django.VERSION < (6, 0), reason="Django 5.2 has no Content-Security-Policy."),
    pytest.mark.django_db(databases=["default", "postgres"], transaction=True),
]

FITS = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"
LIST = "admin:sending_app_suppression_changelist"


def press(browser: Chrome, text: str) -> None:
    find(browser, ".page-tools a, .confirm button, #changelist button, .object-tools a", text).click()


def write(browser: Chrome, name: str, text: str) -> None:
    field = browser.find_element(By.NAME, name)
    field.clear()
    field.send_keys(text)


def assert_fits_a_phone_and_the_dark(browser: Chrome) -> None:
    """The page has no horizontal scroll bar at the width of a phone, and follows the dark theme."""
    colour = "return getComputedStyle(document.body).backgroundColor"
    light = browser.execute_script(colour)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    assert browser.execute_script(colour) != light
    browser.set_window_size(390, 800)
    assert browser.execute_script(FITS)


def problems(browser: Chrome) -> list[str]:
    return [error for error in errors(browser) if "favicon.ico" not in error]


def test_an_operator_searches_an_address_and_removes_its_suppression(browser: Chrome, site: str) -> None:
    suppressed("ann@example.com")
    suppressed("bo@example.com")
    browser.get(f"{site}{reverse(LIST)}")
    find(browser, "#result_list", "ann@example.com", "bo@example.com")
    write(browser, "q", "ann@exa\n")
    find(browser, ".paginator", "1 suppressed address")
    browser.find_element(By.ID, "action-toggle").click()
    Select(browser.find_element(By.NAME, "action")).select_by_visible_text("Remove")
    press(browser, "Run")
    find(browser, ".would", "This would remove 1 of 1 suppression. Nothing is changed yet.")
    find(browser, ".warning", "manage.py suppressions sync --push --apply")
    assert_fits_a_phone_and_the_dark(browser)
    press(browser, "Remove")
    find(browser, ".messagelist", "Removed 1 of 1 suppression.")
    assert list(Suppression.objects.filter(active=True).values_list("address", flat=True)) == [
        "bo@example.com"
    ]
    assert problems(browser) == []


def test_an_operator_adds_an_address_after_a_mistake(browser: Chrome, site: str) -> None:
    suppressed("bo@example.com")
    browser.get(f"{site}{reverse(LIST)}")
    press(browser, "ADD SUPPRESSED ADDRESS")
    write(browser, "address", "ann")
    browser.find_element(By.CSS_SELECTOR, "[name=reason][value=unsubscribed]").click()
    write(browser, "scope", "news")
    press(browser, "Suppress")
    find(browser, ".errorlist", "Invalid address 'ann'")
    assert_fits_a_phone_and_the_dark(browser)
    write(browser, "address", "Ann@example.com")
    press(browser, "Suppress")
    find(browser, ".messagelist", "The address is suppressed.")
    find(browser, ".summary", "active", "ann@example.com", "unsubscribed", "news")
    assert browser.execute_script(FITS)
    assert Suppression.objects.get(address="ann@example.com").source == "operator"
    assert problems(browser) == []


def test_an_operator_erases_a_person(browser: Chrome, site: str, anymail: Callable[..., None]) -> None:
    anymail(PERSONAL_DATA_KEY="a-key-of-personal-data-for-tests-only")
    browser.get(f"{site}{reverse('admin:events_app_event_changelist')}")
    press(browser, "ERASE A PERSON")
    write(browser, "address", "ann@example.com")
    press(browser, "Count")
    write(browser, "confirmed", "bo@example.com")
    press(browser, "Erase")
    find(browser, ".errorlist", "This is another address. Nothing was erased.")
    assert_fits_a_phone_and_the_dark(browser)
    write(browser, "confirmed", "ann@example.com")
    press(browser, "Erase")
    find(browser, ".would", "The person is erased.")
    assert ErasedPerson.objects.count() == 1
    assert problems(browser) == []
