"""The page in headless Chromium: buttons are pressed, and the webhooks see the events."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from devstack import chromium
from fake_sendgrid.client import Client
from tests.support.browser import errors, eventually, find, needs_browser
from tests.support.fake_sendgrid.api_requests import mail_body, post_mail
from tests.support.fake_sendgrid.webhook_receiver import PATIENCE, WebhookReceiver

pytestmark = [pytest.mark.slow, needs_browser]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    with chromium.running(tmp_path) as browser:
        yield browser


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
