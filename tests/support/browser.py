"""Waits for elements of a page in Chromium (`devstack.chromium`)."""

from collections.abc import Callable
from typing import Literal, TypeVar

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from devstack.chromium import DRIVER, PROGRAM

T = TypeVar("T")

needs_browser = pytest.mark.skipif(
    not (PROGRAM and DRIVER), reason="Install Chromium and chromedriver to test pages in a browser."
)

#: Seconds until a page must show what a test waits for.
PATIENCE = 30


def find(browser: Chrome, selector: str, *texts: str) -> WebElement:
    """Wait for an element whose text contains all `texts`."""

    def search(browser: Chrome) -> WebElement | Literal[False]:
        for element in browser.find_elements(By.CSS_SELECTOR, selector):
            if all(text in element.text for text in texts):
                return element
        return False

    return eventually(browser, search, f"{selector} with {texts!r}")


def eventually(browser: Chrome, search: Callable[[Chrome], T | Literal[False]], what: str) -> T:
    # An element may be replaced by the page's script at any time.
    wait = WebDriverWait(browser, PATIENCE, ignored_exceptions=[StaleElementReferenceException])
    return wait.until(search, what)


def errors(browser: Chrome) -> list[str]:
    """The messages of the console, such as a refused style or script."""
    return [entry["message"] for entry in browser.get_log("browser")]  # type: ignore[no-untyped-call]
