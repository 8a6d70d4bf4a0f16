"""Each test runs with both backends: a Django message is sent, and what SendGrid got of it is looked at."""

from typing import Any

import pytest
from pytest_django import Settings

from fake_sendgrid.server import FakeSendGrid
from tests.support.sending.django_mail import (
    BOTH_BACKENDS,
    QUEUED,
    Sent,
    post_due_mail,
    use_backend,
    without_ids,
)


@pytest.fixture(params=BOTH_BACKENDS)
def sent(request: pytest.FixtureRequest, settings: Settings, sendgrid: FakeSendGrid) -> Sent:
    queued = request.param == QUEUED
    use_backend(settings, request.param)

    def send(message: Any) -> dict[str, Any]:
        before = len(sendgrid.accepted)
        assert message.send() == 1
        if queued:
            assert len(sendgrid.accepted) == before
            post_due_mail()
        (mail,) = sendgrid.accepted[before:]
        return without_ids(mail.body)

    return send
