"""The page in headless Chromium: buttons are pressed, and the webhooks see the events."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from fake_sendgrid.client import Client
from tests.support.fake_sendgrid.api_requests import mail_body, post_mail
from tests.support.fake_sendgrid.webhook_receiver import PATIENCE, WebhookReceiver

T = TypeVar("T")

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (BROWSER and DRIVER), reason="Install Chromium and chromedriver to test the page in a browser."
    ),
]

QUIET = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--window-size=1300,1000"),
)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = BROWSER or ""
    for argument in (*QUIET, f"--user-data-dir={tmp_path}"):
        options.add_argument(argument)
    with Chrome(options, ChromeService(DRIVER)) as browser:
        yield browser


def find(browser: Chrome, selector: str, text: str = "") -> WebElement:
    """Wait for an element whose text contains `text`."""

    def search(browser: Chrome) -> WebElement | Literal[False]:
        elements = browser.find_elements(By.CSS_SELECTOR, selector)
        return next((element for element in elements if text in element.text), False)

    return eventually(browser, search, f"{selector} with {text!r}")


def eventually(browser: Chrome, search: Callable[[Chrome], T | Literal[False]], what: str) -> T:
    # An element may be replaced by the page's script at any time.
    wait = WebDriverWait(browser, PATIENCE, ignored_exceptions=[StaleElementReferenceException])
    return wait.until(search, what)


def errors(browser: Chrome) -> list[str]:
    """The messages of the console, such as a refused style or script."""
    return [entry["message"] for entry in browser.get_log("browser")]  # type: ignore[no-untyped-call]


def test_buttons_of_the_page_reach_the_webhooks(
    double: Client, webhook: WebhookReceiver, browser: Chrome
) -> None:
    double.webhook_url = double.inbound_url = webhook.url
    browser.get(double.page_url)
    find(browser, "h1", "No mail yet")
    # The page notices the mail by itself.
    post_mail(double.url, mail_body("silent.ann@example.com", subject="The spring sale"))
    find(browser, "td.subject a", "The spring sale").click()
    find(browser, "h1", "The spring sale")
    words = {
        "Open": "opened",
        "Click": "clicked",
        "Bounce": "bounced",
        "Complain": "complained",
        "Unsubscribe": "unsubscribed",
    }
    for button, word in words.items():
        find(browser, ".recipient button", button).click()
        find(browser, "[data-live] .state", word)
    find(browser, "details.reply summary", "Reply").click()
    find(browser, "details.reply textarea").send_keys("Yes, please.")
    find(browser, "details.reply button", "Send the reply").click()
    find(browser, "[data-live] .state", "replied")
    double.wait_until_posted(PATIENCE)
    posts = [request for request in webhook.taken if "json" in request.headers["Content-Type"]]
    kinds = [event["event"] for post in posts for event in json.loads(post.body)]
    assert kinds == ["open", "click", "bounce", "spamreport", "unsubscribe"]
    assert any(b"Yes, please." in request.body for request in webhook.taken)
    assert errors(browser) == []
    find(browser, "header a", "Mails").click()
    assert "opened clicked bounced complained unsubscribed" in " ".join(
        find(browser, "td .states").text.split()
    )
    find(browser, "button", "Clear").click()
    find(browser, "h1", "No mail yet")


def test_a_hostile_mail_does_nothing(double: Client, webhook: WebhookReceiver, browser: Chrome) -> None:
    code = f"<script>fetch('{webhook.url}')</script><img src='{webhook.url}' onerror=fetch('{webhook.url}')>"
    styles = f"<style>@import url({webhook.url}); h1 {{ background: url({webhook.url}) }}</style>"
    form = f"<form action='{webhook.url}' method=post target=_top><button id=go>Go</button></form>"
    html = f"{code}{styles}<h1>Hello</h1>{form}<iframe src='{webhook.url}'></iframe>"
    body = mail_body("silent.ann@example.com", subject=code, content=[{"type": "text/html", "value": html}])
    post_mail(double.url, body)
    browser.get(f"{double.page_url}mails/{double.mails[0].id}")
    assert find(browser, "h1").text == code
    browser.switch_to.frame(find(browser, "iframe"))
    assert find(browser, "h1").text == "Hello"
    browser.find_element(By.ID, "go").click()
    browser.switch_to.default_content()
    assert find(browser, "h1").text == code
    assert webhook.requests == []


def test_a_page_of_another_site_presses_no_button(double: Client, browser: Chrome, tmp_path: Path) -> None:
    post_mail(double.url)
    page = tmp_path / "attack.html"
    page.write_text(f"""<form action="{double.page_url}clear" method="post"><button>Win</button></form>
        <script>fetch("{double.page_url}control/reset", {{method: "POST", mode: "no-cors", body: "{{}}"}})
        .then(() => document.title = "sent", () => document.title = "failed")</script>""")
    browser.get(page.as_uri())
    eventually(browser, lambda browser: browser.title in ("sent", "failed") or False, "the attack")
    find(browser, "button").click()
    find(browser, "h1", "Refused")
    assert len(double.mails) == 1
