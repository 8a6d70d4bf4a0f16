"""Actions of the admin in headless Chromium under the shipped Content-Security-Policy."""

import django
import pytest
from django.urls import reverse
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from events_app.models import PendingDelivery
from events_app.signals import ReceiverSignal
from sending_app.models import Mail
from tests.support.browser import errors, find, needs_browser
from tests.support.events.stored_events import add_pending, open_event, store_done
from tests.support.recorded_calls import Recorder
from tests.support.sending.outbox_mails import only_part, put_in_outbox

pytestmark = [
    pytest.mark.slow,
    needs_browser,
    pytest.mark.skipif(django.VERSION < (6, 0), reason="Django 5.2 has no Content-Security-Policy."),
    pytest.mark.django_db(databases=["default", "postgres"], transaction=True),
]

TRACEBACK = "Traceback (most recent call last):\nConnectionError: the shop is closed"


def press(browser: Chrome, text: str) -> None:
    find(browser, ".page-tools a, .confirm button, #changelist button", text).click()


def problems(browser: Chrome) -> list[str]:
    return [error for error in errors(browser) if "favicon.ico" not in error]


def test_an_operator_retries_the_dead_letters_of_a_list(browser: Chrome, site: str) -> None:
    for pk in store_done(open_event("A1"), open_event("B2")):
        add_pending(pk, state="dead", failures=15, receivers={"shop": TRACEBACK})
    browser.get(f"{site}{reverse('admin:events_app_pendingdelivery_changelist')}")
    browser.find_element(By.ID, "action-toggle").click()
    Select(browser.find_element(By.NAME, "action")).select_by_visible_text("Retry")
    press(browser, "Run")
    find(browser, ".would", "This would retry 2 of 2 events. Nothing is changed yet.")
    press(browser, "Retry")
    find(browser, ".messagelist", "Retried 2 of 2 events. A worker takes them up now")
    assert set(PendingDelivery.objects.values_list("state", flat=True)) == {"pending"}
    assert problems(browser) == []


def test_an_operator_replays_an_event_to_a_chosen_receiver(
    browser: Chrome, site: str, tracking: ReceiverSignal
) -> None:
    Recorder(tracking, "shop")
    Recorder(tracking, "crm")
    (pk,) = store_done(open_event("A1"))
    browser.get(f"{site}{reverse('admin:events_app_event_change', args=[pk])}")
    press(browser, "Replay")
    browser.find_element(By.CSS_SELECTOR, "[name=to][value=some]").click()
    browser.find_element(By.CSS_SELECTOR, "[name=names][value=crm]").click()
    press(browser, "Replay")
    find(browser, ".messagelist", "Replayed 1 of 1 event.")
    assert PendingDelivery.objects.get().receivers == {"crm": ""}
    assert problems(browser) == []


def test_an_operator_settles_a_parked_mail(browser: Chrome, site: str) -> None:
    put_in_outbox()
    Mail.objects.update(state="parked")
    browser.get(f"{site}{reverse('admin:sending_app_mail_act', args=['settle', only_part().pk])}")
    browser.find_element(By.CSS_SELECTOR, "[name=answer][value=sent]").click()
    browser.set_window_size(390, 800)
    width = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert browser.execute_script(width)
    press(browser, "Settle")
    find(browser, ".messagelist", "Settled 1 of 1 mail.")
    assert only_part().state == "accepted"
    assert problems(browser) == []
