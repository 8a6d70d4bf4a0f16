"""The machine's Chromium without a window."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")

QUIET = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--window-size=1300,1000"),
)


@contextmanager
def running(folder: Path, *, with_requests: bool = False) -> Iterator[Chrome]:
    """A browser with its profile in the folder. `with_requests` keeps a log for `requested_urls`."""
    options = ChromeOptions()
    options.binary_location = PROGRAM or ""
    for argument in (*QUIET, f"--user-data-dir={folder}"):
        options.add_argument(argument)
    if with_requests:
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    with Chrome(options, ChromeService(DRIVER)) as browser:
        yield browser


def log_in(browser: Chrome, site: str, user: str, password: str) -> None:
    """Log in to the admin of the site, whose URL ends with a slash."""
    browser.get(f"{site}admin/login/")
    for name, text in (("username", user), ("password", password)):
        browser.find_element(By.NAME, name).send_keys(text)
    browser.find_element(By.CSS_SELECTOR, "[type=submit]").click()


def resize(browser: Chrome, width: int, height: int) -> None:
    """Give the page this size in CSS pixels. Below 600 the browser acts like a phone's."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )


def prefer_dark(browser: Chrome, dark: bool) -> None:
    """Have the browser prefer dark pages, or light pages."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
