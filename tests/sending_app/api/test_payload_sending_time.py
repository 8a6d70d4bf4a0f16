"""When a part is to be sent: the latest time any of its personalizations asks for."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sending_app.api.payload import sending_time
from sending_app.mail import SharedContent
from tests.support.sending.outbox_mails import personalization

AT = 1_784_030_400


def when(*given: Any, body: Any = None, extra: Any = None) -> int | None:
    envelopes = [replace(personalization("ann@example.com"), given={"send_at": one}) for one in given]
    envelopes.append(personalization("bob@example.com"))
    found = sending_time(SharedContent(body={"send_at": body}, extra={"send_at": extra}), envelopes)
    return None if found is None else int(found.timestamp())


def test_a_mail_without_send_at_has_no_sending_time() -> None:
    assert sending_time(SharedContent(body={}), [personalization("ann@example.com")]) is None
    assert sending_time(SharedContent(body={}), []) is None


@pytest.mark.parametrize("where", ["body", "extra", "given"])
def test_send_at_is_found_in_every_place(where: str) -> None:
    found = when(AT) if where == "given" else when(**{where: AT})
    assert found == AT


def test_the_latest_send_at_is_used() -> None:
    assert when(AT + 5, AT + 9, body=AT, extra=AT + 7) == AT + 9


def test_the_sending_time_is_in_utc() -> None:
    found = sending_time(SharedContent(body={"send_at": AT}), [])
    assert found == datetime(2026, 7, 14, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("odd", [None, True, "soon", str(AT), 1.5, [AT], {}, 10**20, -(10**20)])
def test_an_invalid_send_at_is_left_to_sendgrid(odd: Any) -> None:
    assert when(body=odd) is None
