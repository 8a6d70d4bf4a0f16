"""The admin in headless Chromium under the shipped Content-Security-Policy: nothing is refused."""

import django
import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.urls import reverse
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.support.browser import errors, find, needs_browser
from tests.support.events.stored_events import add_pending, open_event, store_done
from tests.support.inbound.mails import keep_mail, sample_mail
from tests.support.sending.outbox_mails import put_in_outbox

pytestmark = [
    pytest.mark.slow,
    needs_browser,
    pytest.mark.skipif(django.VERSION < (6, 0), reason="Django 5.2 has no Content-Security-Policy."),
    pytest.mark.django_db(databases=["default", "postgres"], transaction=True),
]

PASSWORD = "a-password-for-tests-only"


@pytest.fixture
def site(settings: Settings, live_server: LiveServer) -> str:
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False  # the server has no TLS
    User.objects.create_superuser("root", password=PASSWORD)
    (event,) = store_done(open_event("A1"))
    add_pending(event, state="dead", receivers={"shop": "Traceback"})
    keep_mail(sample_mail())
    put_in_outbox()
    return str(live_server.url)


def test_no_page_of_the_admin_breaks_the_content_security_policy(browser: Chrome, site: str) -> None:
    browser.get(site)
    for name, text in (("username", "root"), ("password", PASSWORD)):
        browser.find_element(By.NAME, name).send_keys(text)
    browser.find_element(By.CSS_SELECTOR, "[type=submit]").click()
    find(browser, "#user-tools", "LOG OUT")
    visited = 0
    for model in admin.site._registry:
        names = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        browser.get(f"{site}{reverse(f'{names}_changelist')}")
        assert browser.find_elements(By.CSS_SELECTOR, "#changelist, #overview"), names
        for row in model._default_manager.all()[:1]:
            browser.get(f"{site}{reverse(f'{names}_change', args=[row.pk])}")
            assert browser.find_elements(By.ID, "content-main"), names
            visited += 1
    assert visited > 5
    # A page with widgets that need scripts.
    browser.get(f"{site}{reverse('admin:auth_user_change', args=[User.objects.get().pk])}")
    assert browser.find_elements(By.CSS_SELECTOR, ".selector-chooser, .datetimeshortcuts")
    assert [error for error in errors(browser) if "favicon.ico" not in error] == []
    assert browser.get_cookie("sessionid")["httpOnly"]  # type: ignore[index]


def test_the_policy_is_in_force(browser: Chrome, site: str) -> None:
    browser.get(f"{site}/admin/login/")
    browser.execute_script("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">x</p>')")
    assert "Content Security Policy" in "".join(errors(browser))
