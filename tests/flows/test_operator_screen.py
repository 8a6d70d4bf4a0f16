"""An operator at 3 a.m.: a whole deployment with a month of data, in headless Chromium.

The deployment has a tenth of the data that `./dev seed` makes, so that the flow takes a minute.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from devstack import chromium
from devstack.screenshots import PHONE, WIDE
from devstack.seed.customers import ANN, DAVE
from devstack.seeded import PASSWORD, seeded_deployment
from tests.support.browser import errors, eventually, find, needs_browser

# On a busy machine the data alone take a minute.
pytestmark = [needs_browser, pytest.mark.timeout(900)]

EVENTS, MAILS = 100_000, 10_000

#: A receiver of `example_app`: a retry calls the receiver, and the receiver does not fail.
RECEIVER = "example_app.receivers.note_call"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    with seeded_deployment(tmp_path, events=EVENTS, mails=MAILS) as deployment:
        yield f"{deployment.url}admin/"


@pytest.fixture
def browser(tmp_path: Path, site: str) -> Iterator[Chrome]:
    with chromium.running(tmp_path / "browser", with_requests=True) as browser:
        chromium.log_in(browser, site.removesuffix("admin/"), "admin", PASSWORD)
        find(browser, "#user-tools", "LOG OUT")
        yield browser


def test_an_operator_sees_what_is_wrong_and_mends_it(browser: Chrome, site: str) -> None:
    the_overview_tells_of_each_trouble_and_draws_charts(browser, site)
    the_mail_of_ann_is_found_and_tells_its_story(browser, site)
    a_dead_letter_is_retried_and_is_done(browser, site)
    a_parked_mail_is_settled(browser, site)
    for path in (
        "overview_app/overview/",
        "sending_app/mail/",
        "events_app/event/",
        "events_app/inboundmail/",
    ):
        the_page_fits_a_phone(browser, f"{site}{path}")
    the_page_is_dark_for_those_who_prefer_dark(browser, f"{site}overview_app/overview/")
    assert hosts_of_requests(browser) == {urlsplit(site).netloc}
    assert [error for error in errors(browser) if "favicon.ico" not in error] == []


def the_overview_tells_of_each_trouble_and_draws_charts(browser: Chrome, site: str) -> None:
    browser.get(f"{site}overview_app/overview/")
    for trouble in ("dead letters of events", "is paused", "parked"):
        find(browser, "li", trouble)
    find(browser, "figure", "Delivered")
    assert browser.find_elements(By.CSS_SELECTOR, "figure svg")
    find(browser, "table", "gmail.example")


def the_mail_of_ann_is_found_and_tells_its_story(browser: Chrome, site: str) -> None:
    open_mail(browser, site, ANN.address, "Your invoice 482113")
    for moment in ("deferred", "delivered", "opened", "clicked", "reply"):
        find(browser, "ol li", moment)
    click(browser, "Show the content")
    frame = find(browser, "iframe")
    assert frame.get_attribute("sandbox") is not None
    browser.switch_to.frame(frame)
    find(browser, "p", "Your invoice is attached.")
    browser.switch_to.default_content()


def a_dead_letter_is_retried_and_is_done(browser: Chrome, site: str) -> None:
    browser.get(f"{site}events_app/pendingdelivery/?state=dead&receiver={RECEIVER}")
    find(browser, "#result_list tr", RECEIVER, "dead letter").find_element(By.TAG_NAME, "a").click()
    find(browser, "pre, summary", RECEIVER)
    click(browser, "Retry")
    find(browser, "strong", "This would retry 1 of 1 event.")
    press(browser, "Retry")
    find(browser, ".messagelist", "Retried 1 of 1 event")

    def is_done(browser: Chrome) -> bool:
        browser.refresh()
        return "done" in browser.find_element(By.CSS_SELECTOR, "[aria-labelledby=of-delivery]").text

    eventually(browser, is_done, "the delivery is done")


def a_parked_mail_is_settled(browser: Chrome, site: str) -> None:
    open_mail(browser, site, DAVE.address, "Your invoice 482104")
    find(browser, ".summary", "parked")
    click(browser, "Settle")
    find(browser, "label", "Yes. They are accepted").click()
    press(browser, "Settle")
    find(browser, ".messagelist", "Settled 1 of 1 mail")
    find(browser, ".summary", "sent")


def the_page_fits_a_phone(browser: Chrome, page: str) -> None:
    chromium.resize(browser, *PHONE)
    browser.get(page)
    width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width <= PHONE[0], page
    chromium.resize(browser, *WIDE)


def the_page_is_dark_for_those_who_prefer_dark(browser: Chrome, page: str) -> None:
    chromium.prefer_dark(browser, True)
    browser.get(page)
    colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    chromium.prefer_dark(browser, False)
    red, green, blue = (int(part) for part in colour.strip("rgb()").split(","))
    assert max(red, green, blue) < 64


def open_mail(browser: Chrome, site: str, address: str, subject: str) -> None:
    """Search the address and open the mail with the subject."""
    browser.get(f"{site}sending_app/mail/")
    box = browser.find_element(By.NAME, "q")
    box.send_keys(address)
    box.submit()
    find(browser, "#result_list tr", subject).find_element(By.TAG_NAME, "a").click()
    find(browser, "ol li", "created")


def click(browser: Chrome, text: str) -> None:
    find(browser, "#content a", text).click()


def press(browser: Chrome, text: str) -> None:
    find(browser, "#content button", text).click()


def hosts_of_requests(browser: Chrome) -> set[str]:
    """The hosts that the browser's pages have asked."""
    logged = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]  # type: ignore[no-untyped-call]
    sent = [message["params"] for message in logged if message["method"] == "Network.requestWillBeSent"]
    urls = [urlsplit(params["request"]["url"]) for params in sent]
    return {url.netloc for url in urls if url.scheme not in ("data", "blob", "chrome")}
