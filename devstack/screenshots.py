"""`./dev screenshots`: writes the pictures of the admin for the documents into `docs/images`.

The data are always the same, but their times end now.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from devstack import chromium
from devstack.seed.customers import ANN
from devstack.seeded import PASSWORD, seeded_deployment
from devstack.stack import ROOT

FOLDER = ROOT / "docs" / "images"

EVENTS, MAILS = 100_000, 10_000

#: CSS pixels. A phone of 2024 has 390.
WIDE, MIDDLE, LOW, PHONE = (1300, 900), (1300, 760), (1300, 560), (390, 844)

#: Seconds until beat and the workers have told that they live.
SETTLED = 20


class Picture(NamedTuple):
    """A picture of a page."""

    name: str
    #: Opens the page; the second argument is the URL of the admin.
    open: Callable[[Chrome, str], None]
    size: tuple[int, int] = WIDE
    dark: bool = False


def main(argv: list[str]) -> int:
    if argv:
        print("usage: ./dev screenshots", file=sys.stderr)
        return 2
    if not (chromium.PROGRAM and chromium.DRIVER):
        print("screenshots: install Chromium and chromedriver first.", file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pipeline-screenshots-") as name:
        folder = Path(name)
        with (
            seeded_deployment(folder, events=EVENTS, mails=MAILS) as deployment,
            chromium.running(folder / "browser") as browser,
        ):
            chromium.log_in(browser, deployment.url, "admin", PASSWORD)
            # Without the sidebar, the pages have room.
            browser.execute_script("localStorage.setItem('django.admin.navSidebarIsOpen', 'false')")
            time.sleep(SETTLED)
            missing = 0
            for picture in PICTURES:
                try:
                    size = take(browser, f"{deployment.url}admin/", picture)
                    print(f"  {picture.name}.png: {size // 1000} kB", flush=True)
                except WebDriverException as error:
                    missing += 1
                    print(
                        f"  {picture.name}: {(error.msg or '').splitlines()[0]}", file=sys.stderr, flush=True
                    )
    return 1 if missing else 0


def take(browser: Chrome, admin: str, picture: Picture) -> int:
    """Take the picture; return its bytes."""
    chromium.prefer_dark(browser, picture.dark)
    chromium.resize(browser, *picture.size)
    picture.open(browser, admin)
    file = FOLDER / f"{picture.name}.png"
    browser.save_screenshot(file)
    return file.stat().st_size


def page(path: str) -> Callable[[Chrome, str], None]:
    """Open a page of the admin."""
    return lambda browser, admin: browser.get(f"{admin}{path}")


def first_row(path: str) -> Callable[[Chrome, str], None]:
    """Open the page of the first row in a list."""

    def open_row(browser: Chrome, admin: str) -> None:
        browser.get(f"{admin}{path}")
        browser.find_element(By.CSS_SELECTOR, "#result_list tbody tr a").click()

    return open_row


def confirmation(path: str, action: str) -> Callable[[Chrome, str], None]:
    """Choose the first rows of a list and an action, and go to the page that asks."""

    def open_confirmation(browser: Chrome, admin: str) -> None:
        browser.get(f"{admin}{path}")
        for box in browser.find_elements(By.CSS_SELECTOR, "#result_list .action-select")[:3]:
            box.click()
        browser.find_element(By.XPATH, f"//select[@name='action']/option[contains(., '{action}')]").click()
        browser.find_element(By.CSS_SELECTOR, "#changelist-form .actions button").click()

    return open_confirmation


def scrolled(open_page: Callable[[Chrome, str], None], words: str) -> Callable[[Chrome, str], None]:
    """Open a page and scroll to the heading with these words."""

    def open_scrolled(browser: Chrome, admin: str) -> None:
        open_page(browser, admin)
        heading = browser.find_element(By.XPATH, f"//h2[contains(., '{words}')]")
        browser.execute_script("arguments[0].scrollIntoView()", heading)

    return open_scrolled


_OVERVIEW = page("overview_app/overview/")
_MAIL = first_row(f"sending_app/mail/?q={ANN.address}")
_DEAD_LETTERS = "events_app/pendingdelivery/?state=dead"

PICTURES = (
    Picture("overview", _OVERVIEW),
    Picture("charts", scrolled(page("overview_app/overview/?period=30d"), "The last")),
    Picture("overview-dark", _OVERVIEW, dark=True),
    Picture("overview-phone", _OVERVIEW, PHONE),
    Picture("mails", page("sending_app/mail/?q=ann.l"), LOW),
    Picture("mail", _MAIL),
    Picture("timeline", scrolled(_MAIL, "Timeline")),
    Picture("mail-dark", _MAIL, dark=True),
    Picture("mail-phone", _MAIL, PHONE),
    Picture("dead-letters", page(_DEAD_LETTERS), MIDDLE),
    Picture("confirmation", confirmation(_DEAD_LETTERS, "Retry"), LOW),
    Picture("event", first_row("events_app/event/?event_type=bounced")),
    Picture("inbound", first_row(f"events_app/inboundmail/?q={ANN.address}")),
    Picture("doctor", page("doctor/")),
)
