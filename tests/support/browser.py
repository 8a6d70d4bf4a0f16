"""Waits for elements of a page in Chromium (`devstack.chromium`)."""

from collections.abc import Callable
from typing import Literal, TypeVar

import pytest
from selenium.common.exceptions import TimeoutException, WebDriverException
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

#: The contrast of a text with the background behind it (WCAG 2.2, 1.4.3).
CONTRAST = """
const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
const luminance = (colour) => channels(colour).slice(0, 3).map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
}).reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
const background = (element) => {
    for (let at = element; at; at = at.parentElement) {
        const colour = getComputedStyle(at).backgroundColor;
        if ((channels(colour)[3] ?? 1) > 0) { return colour; }
    }
    return "rgb(255, 255, 255)";
};
return [...document.querySelectorAll(arguments[0])].map((element) => {
    const style = getComputedStyle(element);
    const text = luminance(element instanceof SVGElement ? style.fill : style.color);
    const behind = luminance(background(element));
    return (Math.max(text, behind) + 0.05) / (Math.min(text, behind) + 0.05);
});
"""


def find(browser: Chrome, selector: str, *texts: str) -> WebElement:
    """Wait for an element whose text contains all `texts`."""

    def search(browser: Chrome) -> WebElement | Literal[False]:
        # A click on a page that still loads misses an element that a late style moves.
        if browser.execute_script("return document.readyState") != "complete":
            return False
        for element in browser.find_elements(By.CSS_SELECTOR, selector):
            if all(text in element.text for text in texts):
                return element
        return False

    return eventually(browser, search, f"{selector} with {texts!r}")


def click(browser: Chrome, selector: str, *texts: str) -> None:
    """Wait for such an element (`find`), and click it. The page may replace it meanwhile."""

    def press(browser: Chrome) -> bool:
        find(browser, selector, *texts).click()
        return True

    eventually(browser, press, f"a click on {selector} with {texts!r}")


def eventually(browser: Chrome, search: Callable[[Chrome], T | Literal[False]], what: str) -> T:
    # The page's script may replace an element at any time. Chromium reports that as a stale element, or as an
    # unknown error: "Node with given id does not belong to the document".
    wait = WebDriverWait(browser, PATIENCE, ignored_exceptions=[WebDriverException])
    try:
        return wait.until(search, what)
    except TimeoutException as late:
        page = browser.find_element(By.TAG_NAME, "body").text
        raise AssertionError(f"{what} did not come. {browser.current_url} has:\n{page}") from late


def errors(browser: Chrome) -> list[str]:
    """The messages of the console, such as a refused style or script."""
    return [entry["message"] for entry in browser.get_log("browser")]  # type: ignore[no-untyped-call]
