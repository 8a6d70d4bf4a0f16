"""The direct backend: SendGrid has the mail when `send()` returns, and no database is asked."""

import json
import logging
import pickle
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import requests
from django.utils.log import AdminEmailHandler
from pytest_django import Settings

from fake_sendgrid import responses
from fake_sendgrid.rules.fault import Fault
from fake_sendgrid.server import FakeSendGrid
from sending_app.backends.direct import EmailBackend
from sending_app.exceptions import (
    AnymailAPIError,
    AnymailError,
    AnymailRequestsAPIError,
    ConnectionFailed,
    ReadTimedOut,
    RequestsAPIError,
    TooLarge,
)
from sending_app.signals import post_send
from tests.support.http_server import ACCEPTED, Serve, answering
from tests.support.sending.django_mail import (
    DIRECT,
    HAS_MAILERS,
    connection_of,
    django_message,
    receiver_connected,
    use_backend,
)

Change = Callable[..., None]


@pytest.fixture(autouse=True)
def direct(settings: Settings, sendgrid: FakeSendGrid) -> None:
    use_backend(settings, DIRECT)


def test_the_status_has_the_response_of_sendgrid(sendgrid: FakeSendGrid) -> None:
    message = django_message()
    assert message.send() == 1
    (mail,) = sendgrid.accepted
    response = message.anymail_status.esp_response
    assert response.status_code == 202
    assert response.headers["X-Message-Id"] == mail.x_message_id


def test_mails_share_one_connection(serve: Serve) -> None:
    wire = serve(answering(ACCEPTED))
    connection = EmailBackend(api_url=wire.url)
    assert connection.send_messages([django_message(), django_message()]) == 2
    EmailBackend(api_url=wire.url).send_messages([django_message()])
    assert (len(wire.requests), wire.connections) == (3, 1)


# Keys


def test_an_api_key_in_code_is_used(sendgrid: FakeSendGrid, anymail: Change) -> None:
    anymail(SENDGRID_API_KEY=None)
    assert EmailBackend(api_key="SG.in-code").send_messages([django_message()]) == 1
    assert connection_of(api_key="SG.in-code-too").send_messages([django_message()]) == 1
    assert [mail.key for mail in sendgrid.accepted] == ["SG.in-code", "SG.in-code-too"]


def test_a_url_and_a_timeout_in_code_are_used(sendgrid: FakeSendGrid, anymail: Change) -> None:
    anymail(SENDGRID_API_URL="http://127.0.0.1:1/")
    connection = EmailBackend(api_url=sendgrid.url, timeout=0.2)
    connection.send_messages([django_message()])
    held = sendgrid.hold()
    with pytest.raises(ReadTimedOut):
        connection.send_messages([django_message()])
    held.release()


# Errors


def test_an_api_error_has_the_attributes_of_anymail(sendgrid: FakeSendGrid) -> None:
    sendgrid.next(responses.error(413))
    message = django_message()
    with pytest.raises(AnymailRequestsAPIError, match="SendGrid API response 413") as caught:
        message.send()
    error = caught.value
    assert isinstance(error, AnymailAPIError | AnymailError | requests.HTTPError)
    assert error.email_message is message
    assert error.status_code == 413
    assert error.response.status_code == 413
    assert error.esp_name == "SendGrid"
    status = message.anymail_status
    assert (status.message_id, status.status, status.recipients) == (None, None, {})
    assert status.esp_response is None


def test_an_error_without_a_response_has_no_status_code(anymail: Change) -> None:
    anymail(SENDGRID_API_URL="http://127.0.0.1:1/")
    message = django_message()
    with pytest.raises(requests.ConnectionError) as caught:
        message.send()
    error = caught.value
    assert isinstance(error, ConnectionFailed)
    assert error.email_message is message
    assert (error.status_code, error.response) == (None, None)


@pytest.mark.parametrize(
    "answer",
    [
        responses.error(400),
        responses.server_error(),
        responses.rate_limited(5),
        responses.html_page(),
        responses.close_connection(),
    ],
    ids=["400", "500", "429", "html", "no answer"],
)
def test_b12_errors_can_be_pickled_with_their_message_and_without_the_key(
    sendgrid: FakeSendGrid, answer: responses.ApiResponse
) -> None:
    sendgrid.next(answer)
    message = django_message(to=["ann@example.com"], metadata={"order": 5})
    message.attach("a.txt", "a", "text/plain")
    connection = connection_of(api_key="SG.in-code", idna_encoder=lambda domain: domain)
    message.__dict__["_connection" if HAS_MAILERS else "connection"] = connection
    with pytest.raises(RequestsAPIError) as caught:
        message.send()
    pickled = pickle.dumps(caught.value)
    assert b"SG.in-code" not in pickled
    twin = pickle.loads(pickled)
    assert type(twin) is type(caught.value)
    assert str(twin) == str(caught.value)
    assert twin.status_code == answer.status
    assert (twin.response is None) == (answer.status is None)
    assert (twin.email_message.to, twin.email_message.metadata) == (["ann@example.com"], {"order": 5})
    assert caught.value.email_message is message


def test_with_fail_silently_refused_mails_are_not_counted(sendgrid: FakeSendGrid) -> None:
    sendgrid.next(responses.accepted(), responses.error(400), responses.accepted())
    assert (
        connection_of(fail_silently=True).send_messages(
            [django_message(), django_message(), django_message()]
        )
        == 2
    )
    assert len(sendgrid.requests) == 3


def test_the_first_failed_message_raises_and_the_rest_is_not_sent(sendgrid: FakeSendGrid) -> None:
    sendgrid.next(responses.accepted(), responses.server_error())
    messages = [django_message(), django_message(), django_message()]
    with pytest.raises(RequestsAPIError) as caught:
        connection_of().send_messages(messages)
    assert caught.value.email_message is messages[1]
    assert [one.status for one in sendgrid.requests] == [202, 500]
    assert messages[0].anymail_status.status == {"queued"}
    assert messages[1].anymail_status.status is None
    assert not hasattr(messages[2], "anymail_status")


def test_djangos_error_mails_are_sent(settings: Settings, sendgrid: FakeSendGrid) -> None:
    settings.SERVER_EMAIL = "root@example.com"
    settings.ADMINS = ["ann@example.com"] if HAS_MAILERS else [("Ann", "ann@example.com")]
    handler = AdminEmailHandler(include_html=True)
    try:
        raise LookupError("no Bob")
    except LookupError:
        handler.handle(logging.makeLogRecord({"msg": "It broke", "exc_info": sys.exc_info()}))
    (mail,) = sendgrid.accepted
    assert mail.body["subject"] == "[Django] Level None: It broke"
    assert [part["type"] for part in mail.body["content"]] == ["text/plain", "text/html"]
    assert "no Bob" in mail.body["content"][0]["value"]


# Large batches


def batch(size: int = 2500) -> Any:
    return django_message(to=[f"n{number}@example.com" for number in range(size)], merge_data={})


def test_b13_a_batch_of_2500_is_sent_in_three_requests(sendgrid: FakeSendGrid) -> None:
    message = batch()
    assert message.send() == 1
    sizes = [len(mail.body["personalizations"]) for mail in sendgrid.accepted]
    assert sizes == [1000, 1000, 500]
    assert len(message.anymail_status.message_id) == 2500


@pytest.mark.parametrize("tracked", [True, False])
def test_a_failed_second_request_leaves_the_recipients_of_the_first_in_the_status(
    sendgrid: FakeSendGrid, anymail: Change, tracked: bool
) -> None:
    anymail(SENDGRID_GENERATE_MESSAGE_ID=tracked)
    sendgrid.next(responses.accepted(), responses.server_error())
    message, heard = batch(), []
    with (
        receiver_connected(post_send, lambda status, **_: heard.append(status)),
        pytest.raises(RequestsAPIError),
    ):
        message.send()
    assert [one.status for one in sendgrid.requests] == [202, 500]
    (mail,) = sendgrid.accepted
    status = message.anymail_status
    assert {address: one.message_id for address, one in status.recipients.items()} == {
        one["to"][0]["email"]: one.get("custom_args", {}).get("anymail_id")
        for one in mail.body["personalizations"]
    }
    assert len(status.recipients) == 1000
    assert heard == [status]
    assert status.status == {"queued"}
    assert status.esp_response.headers["X-Message-Id"] == mail.x_message_id


def test_a_mail_that_is_too_large_makes_no_request(sendgrid: FakeSendGrid) -> None:
    message = django_message(bcc=[f"n{number}@example.com" for number in range(1000)])
    with pytest.raises(TooLarge) as caught:
        message.send()
    assert caught.value.email_message is message
    assert not sendgrid.requests


# Refused recipients


@pytest.mark.parametrize(("names_refused", "most"), [(True, 1), (False, 60)])
def test_three_refused_addresses_of_a_thousand_cost_no_other_recipient(
    sendgrid: FakeSendGrid, names_refused: bool, most: int, caplog: pytest.LogCaptureFixture
) -> None:
    bad = {"n2@example.com", "n500@example.com", "n999@example.com"}
    sendgrid.refused, sendgrid.names_refused = bad, names_refused
    message, heard = batch(1000), []
    with receiver_connected(post_send, lambda status, **_: heard.append(status)):
        assert message.send() == 1
    got = [one["to"][0]["email"] for mail in sendgrid.accepted for one in mail.body["personalizations"]]
    assert (len(got), {*message.to} - {*got}) == (997, bad)
    assert 1 <= len(sendgrid.requests) - 1 <= most
    status = message.anymail_status
    assert {address for address, one in status.recipients.items() if one.status == "invalid"} == bad
    assert (len(status.recipients), status.status, heard) == (1000, {"queued", "invalid"}, [status])
    assert caplog.messages == ["SendGrid refused 3 of the 1000 mails of a batch"]


def test_a_refused_recipient_of_a_later_request_is_found(sendgrid: FakeSendGrid) -> None:
    sendgrid.refused = {"n1700@example.com"}
    message = batch(2500)
    assert message.send() == 1
    sizes = [len(mail.body["personalizations"]) for mail in sendgrid.accepted]
    assert sizes == [1000, 999, 500]
    assert message.anymail_status.recipients["n1700@example.com"].status == "invalid"


@pytest.mark.parametrize("names_refused", [True, False])
@pytest.mark.parametrize("to", [["n0@x.example", "n1@x.example"], ["n1@x.example", "n0@x.example"]])
def test_a_cc_of_an_accepted_copy_is_queued_with_the_id_of_that_copy(
    sendgrid: FakeSendGrid, to: list[str], names_refused: bool
) -> None:
    sendgrid.refused, sendgrid.names_refused = {"n1@x.example"}, names_refused
    message = django_message(to=to, cc=["boss@x.example"], bcc=["n0@x.example"], merge_data={})
    assert message.send() == 1
    status, (mail,) = message.anymail_status, sendgrid.accepted
    (accepted,) = mail.body["personalizations"]
    statuses = {address: one.status for address, one in status.recipients.items()}
    assert statuses == {"n0@x.example": "queued", "n1@x.example": "invalid", "boss@x.example": "queued"}
    for address in ("n0@x.example", "boss@x.example"):
        assert status.recipients[address].message_id == accepted["custom_args"]["anymail_id"]


@pytest.mark.parametrize("refused_copies", [["1"], ["2"], ["0", "2"]])
def test_an_address_of_several_copies_has_the_id_of_the_last_accepted_copy(
    sendgrid: FakeSendGrid, refused_copies: list[str]
) -> None:
    sendgrid.refused = {f"n{number}@x.example" for number in refused_copies}
    personalizations = [
        {"to": [{"email": f"n{number}@x.example"}], "cc": [{"email": "boss@x.example"}]}
        for number in range(3)
    ]
    message = django_message(esp_extra={"personalizations": personalizations})
    assert message.send() == 1
    ids = [one["custom_args"]["anymail_id"] for one in sendgrid.accepted[-1].body["personalizations"]]
    boss = message.anymail_status.recipients["boss@x.example"]
    assert (boss.status, boss.message_id) == ("queued", ids[-1])


def test_a_recipient_whose_second_copy_is_refused_is_queued(sendgrid: FakeSendGrid) -> None:
    first, second = responses.error(400, Fault("No.", "personalizations.1.to")), responses.accepted()
    sendgrid.next(first, second)
    message = django_message(to=["ann@example.com", "ann@example.com"], merge_data={})
    assert message.send() == 1
    (mail,) = sendgrid.accepted
    (accepted,) = mail.body["personalizations"]
    (recipient,) = message.anymail_status.recipients.values()
    assert (recipient.status, recipient.message_id) == ("queued", accepted["custom_args"]["anymail_id"])


def test_a_recipient_with_a_copy_of_unknown_outcome_is_not_called_refused(sendgrid: FakeSendGrid) -> None:
    sendgrid.next(
        responses.error(400, Fault("No.", "personalizations.1.to")),
        responses.accepted(),
        responses.server_error(),
    )
    to = [f"n{number}@example.com" for number in range(1001)]
    to[1] = to[1000]
    message = django_message(to=to, merge_data={})
    with pytest.raises(RequestsAPIError, match="SendGrid API response 500"):
        message.send()
    assert message.anymail_status.recipients.keys() == set(to) - {to[1]}
    assert message.anymail_status.status == {"queued"}


@pytest.mark.parametrize("names_refused", [True, False])
def test_send_raises_the_refusal_if_no_recipient_is_accepted(
    sendgrid: FakeSendGrid, names_refused: bool
) -> None:
    sendgrid.refused, sendgrid.names_refused = (
        {f"n{number}@example.com" for number in range(4)},
        names_refused,
    )
    message, heard = batch(4), []
    with (
        receiver_connected(post_send, lambda **told: heard.append(told)),
        pytest.raises(RequestsAPIError, match="SendGrid API response 400") as caught,
    ):
        message.send()
    assert (caught.value.email_message, caught.value.status_code) == (message, 400)
    assert (message.anymail_status.recipients, heard) == ({}, [])
    assert len(sendgrid.requests) == (1 if names_refused else 7)


def test_a_mail_that_is_no_batch_is_refused_whole(sendgrid: FakeSendGrid) -> None:
    sendgrid.refused = {"bob@example.com"}
    with pytest.raises(RequestsAPIError):
        django_message(to=["ann@example.com", "bob@example.com"]).send()
    assert len(sendgrid.requests) == 1


def test_a_fault_of_the_shared_content_is_not_searched_for(sendgrid: FakeSendGrid) -> None:
    sendgrid.next(responses.error(400, Fault("No.", "subject")))
    with pytest.raises(RequestsAPIError):
        batch(100).send()
    assert len(sendgrid.requests) == 1


def test_a_refusal_without_a_name_costs_twenty_further_requests_if_nothing_is_accepted(
    sendgrid: FakeSendGrid,
) -> None:
    sendgrid.always(responses.error(400))
    with pytest.raises(RequestsAPIError):
        batch(1000).send()
    assert len(sendgrid.requests) == 21


def test_a_fault_of_all_requests_of_a_message_is_searched_for_once(sendgrid: FakeSendGrid) -> None:
    sendgrid.always(responses.error(400))
    with pytest.raises(RequestsAPIError):
        batch(3000).send()
    assert len(sendgrid.requests) == 23


def test_recipients_that_sendgrid_names_one_by_one_cost_no_other_recipient(sendgrid: FakeSendGrid) -> None:
    # SendGrid names only the first refused address of a request.
    for place in range(25):
        sendgrid.next(responses.error(400, Fault("Invalid.", f"personalizations.{place}.to.0.email")))
    message = batch(100)
    assert message.send() == 1
    assert len(sendgrid.requests) == 26
    counts = Counter(one.status for one in message.anymail_status.recipients.values())
    assert counts == {"queued": 75, "invalid": 25}


def test_recipients_are_failed_if_no_request_is_left_for_the_search(sendgrid: FakeSendGrid) -> None:
    sendgrid.refused, sendgrid.names_refused = {f"n{number}@example.com" for number in range(500)}, False
    message = batch(1000)
    assert message.send() == 1
    assert len(sendgrid.requests) <= 61
    counts = Counter(one.status for one in message.anymail_status.recipients.values())
    assert counts == {"queued": 500, "failed": 500}


def test_an_error_during_the_search_is_raised_with_the_statuses_so_far(sendgrid: FakeSendGrid) -> None:
    sendgrid.refused, sendgrid.names_refused = {"n3@example.com"}, False
    sendgrid.next(responses.accepted(), responses.server_error())
    message = batch(4)
    with pytest.raises(RequestsAPIError, match="SendGrid API response 500"):
        message.send()
    statuses = {address: one.status for address, one in message.anymail_status.recipients.items()}
    assert statuses == {"n0@example.com": "queued", "n1@example.com": "queued"}


# post_send


def test_post_send_gets_the_original_message(sendgrid: FakeSendGrid) -> None:
    heard: list[dict[str, Any]] = []
    message = django_message()
    with receiver_connected(post_send, lambda **told: heard.append(told)):
        message.send()
    (told,) = heard
    assert told["sender"] is EmailBackend
    assert told["message"] is message
    assert told["status"] is message.anymail_status
    assert told["status"].status == {"queued"}
    assert told["esp_name"] == "SendGrid"


def test_post_send_is_not_sent_for_a_refused_mail(sendgrid: FakeSendGrid) -> None:
    heard: list[dict[str, Any]] = []
    sendgrid.next(responses.error(400))
    with receiver_connected(post_send, lambda **told: heard.append(told)), pytest.raises(RequestsAPIError):
        django_message().send()
    assert not heard


def test_b10_an_error_of_a_post_send_receiver_does_not_raise(
    sendgrid: FakeSendGrid, caplog: pytest.LogCaptureFixture
) -> None:
    heard = []

    def bad(**_: Any) -> None:
        raise LookupError("a receiver's own")

    def good(message: Any, **_: Any) -> None:
        heard.append(message)

    message = django_message()
    with receiver_connected(post_send, bad), receiver_connected(post_send, good):
        assert message.send() == 1
    assert heard == [message]
    assert len(sendgrid.requests) == 1
    assert f"bad of post_send failed: LookupError at {__file__}:" in caplog.text
    assert "a receiver's own" not in caplog.text


def test_the_body_is_json_in_utf8(serve: Serve) -> None:
    wire = serve(answering(ACCEPTED))
    EmailBackend(api_url=wire.url).send_messages([django_message(subject="Grüße ☕")])
    (request,) = wire.requests
    assert request.line == "POST /v3/mail/send HTTP/1.1"
    assert request.headers["authorization"] == "Bearer SG.fake"
    assert request.headers["content-type"] == request.headers["accept"] == "application/json"
    assert "Grüße ☕".encode() in request.body
    assert json.loads(request.body)["subject"] == "Grüße ☕"
