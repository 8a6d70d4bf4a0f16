"""An operator who logs in to the admin of a deployment."""

import requests

from tests.support.flows.deployment import Deployment

#: Variables of `createsuperuser`.
ADMIN = {"DJANGO_SUPERUSER_USERNAME": "operator", "DJANGO_SUPERUSER_PASSWORD": "a-password-for-tests-only"}


def log_in(deployment: Deployment) -> requests.Session:
    """A session of a new operator in the admin."""
    deployment.configure(**ADMIN)
    deployment.stack.manage("createsuperuser", "--noinput", "--email", "operator@example.com")
    browser, page = requests.Session(), f"{deployment.stack.url}admin/login/"
    browser.get(page, timeout=30)
    name, password = ADMIN.values()
    form = {"username": name, "password": password, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
    assert browser.post(page, form, timeout=30, allow_redirects=False).status_code == 302
    return browser
