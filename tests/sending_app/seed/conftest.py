"""Each test runs with both backends: a Django message is sent, and what SendGrid got of it is looked at."""

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from pytest_django import Settings

from fake_sendgrid.server import FakeSendGrid
from tests.sending_app.mailing import BOTH, QUEUED, deliver, use, without_ids

#: Sends a message; answers the body of the one request SendGrid got of it, our ids made "id-0", "id-1" ...
Sent: TypeAlias = Callable[[Any], dict[str, Any]]


@pytest.fixture(params=BOTH)
def sent(request: pytest.FixtureRequest, settings: Settings, sendgrid: FakeSendGrid) -> Sent:
    queued = request.param == QUEUED
    use(settings, request.param)

    def send(message: Any) -> dict[str, Any]:
        before = len(sendgrid.accepted)
        assert message.send() == 1
        if queued:
            assert len(sendgrid.accepted) == before
            deliver()
        (mail,) = sendgrid.accepted[before:]
        return without_ids(mail.body)

    return send
