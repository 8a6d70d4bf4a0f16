"""What the way of a mail counts: from the outbox to the recipients' events."""

from collections.abc import Callable, Iterator

import pytest

from fake_sendgrid import responses
from fake_sendgrid.rules.fault import Fault
from fake_sendgrid.server import FakeSendGrid
from sending_app.delivery import reconcile
from sending_app.models import Mail
from tests.support.monitoring import counted, observed
from tests.support.sending.delivery import API_KEY, deliver, sendgrid_double
from tests.support.sending.mail_events import event_payload, receive_events, stored_recipients
from tests.support.sending.outbox_mails import mail, put_in_outbox

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


@pytest.fixture
def sendgrid(anymail: Callable[..., None]) -> Iterator[FakeSendGrid]:
    with sendgrid_double(anymail) as found:
        yield found


def outcomes() -> dict[str, object]:
    return {outcome: number for (_, outcome), number in counted("mail_outcomes_total").items()}


def test_each_outcome_of_an_attempt_is_counted_once(database: str, sendgrid: FakeSendGrid) -> None:
    for response in (
        responses.accepted(),
        responses.error(400, Fault("Bad", "content")),
        responses.server_error(),
        responses.error(401, Fault("The grant is invalid", None)),
    ):
        put_in_outbox()
        sendgrid.next(response)
        deliver()
    assert outcomes() == {"accepted": 1, "failed": 1, "unknown": 1, "paused": 1}
    assert observed("api_request_seconds") == {("202",): 1, ("400",): 1, ("401",): 1, ("500",): 1}
    assert observed("mail_seconds") == {("mail",): 1}


def test_a_request_without_an_answer_has_the_status_none(database: str, anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY=API_KEY, SENDGRID_API_URL="http://127.0.0.1:1/v3/")
    put_in_outbox()
    deliver()
    assert outcomes() == {"retry": 1}
    assert observed("api_request_seconds") == {("none",): 1}


def test_a_mail_accepted_by_its_events_is_counted(database: str, sendgrid: FakeSendGrid) -> None:
    put_in_outbox()
    sendgrid.next(responses.accept_and_close_connection())
    deliver()
    for _ in range(2):
        receive_events(event_payload("processed", stored_recipients()[0]))
    assert outcomes() == {"unknown": 1, "accepted": 1}


def test_a_parked_mail_is_counted(database: str) -> None:
    put_in_outbox()
    now = Mail.objects.get().created_at
    Mail.objects.update(
        state=Mail.State.UNKNOWN, due=now, unknown_since=now, unknown_outcomes=reconcile.MAX_UNKNOWN_OUTCOMES
    )
    assert reconcile.reconcile_all() == {"parked": 1}
    assert outcomes() == {"parked": 1}


def test_a_recipient_counts_once_for_each_status(database: str, sendgrid: FakeSendGrid) -> None:
    put_in_outbox(mail("ann@example.com", "bob@example.com"))
    deliver()
    ann, bob = stored_recipients()
    receive_events(event_payload("delivered", ann), event_payload("delivered", bob))
    receive_events(event_payload("processed", ann), event_payload("open", ann), event_payload("open", ann))
    receive_events(event_payload("open", ann, timestamp=1), event_payload("bounce", bob))
    assert counted("recipient_statuses_total") == {("delivered",): 2, ("opened",): 1, ("bounced",): 1}


def test_the_recipients_of_a_failed_mail_are_counted(database: str, sendgrid: FakeSendGrid) -> None:
    put_in_outbox(mail("ann@example.com", "bob@example.com"))
    sendgrid.next(responses.error(400, Fault("Bad", "content")))
    deliver()
    assert counted("recipient_statuses_total") == {("failed",): 2}
