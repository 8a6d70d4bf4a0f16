"""What SendGrid surely does not have is told from what it may have, whatever breaks and wherever."""

import json
import logging
import os
import pickle
import socket
import ssl
from http.client import HTTPConnection
from pathlib import Path

import pytest
import requests
from billiard.exceptions import SoftTimeLimitExceeded

from devstack.process import wait_for
from sending_app import exceptions
from sending_app.account import Account
from sending_app.api import client
from sending_app.api.client import SendResult, post
from sending_app.exceptions import APIError, MailError, Outcome, RequestsAPIError
from tests.support.certificates import Authority
from tests.support.http_server import (
    ACCEPTED,
    Behaviour,
    ClientConnection,
    HttpServer,
    Request,
    Serve,
    answering,
    response,
)

KEY = "SG.a-key-that-is-nowhere.to-be-seen"
ADDRESS = "mira.okafor@example.net"
BODY = json.dumps({"personalizations": [{"to": [{"email": ADDRESS}]}]}).encode()

#: More than the buffers of two sockets hold: who sends it notices when nobody reads.
LARGE = b'"' + b"x" * 30_000_000 + b'"'


def account(url: str, timeout: float = 0.2) -> Account:
    return Account("default", api_key=KEY, api_url=url, timeout=(timeout, timeout))


def patient(wire: HttpServer) -> Account:
    """For what is to be answered, however slow the machine is."""
    return account(wire.url, 20)


def errors(*found: dict[str, object]) -> bytes:
    return json.dumps({"errors": found}).encode()


# What is posted


def test_the_request_has_the_documented_line_headers_and_body(serve: Serve) -> None:
    wire = serve(answering(ACCEPTED))
    assert post(patient(wire), BODY).outcome is Outcome.ACCEPTED
    [request] = wire.requests
    assert request.line == "POST /v3/mail/send HTTP/1.1"
    assert request.body == BODY
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == request.headers["accept"] == "application/json"
    assert request.headers["content-length"] == str(len(BODY))
    assert request.headers["user-agent"].startswith("django-sendgrid-pipeline/")
    assert "transfer-encoding" not in request.headers


def test_a_large_body_arrives_unchanged(serve: Serve) -> None:
    wire = serve(answering(ACCEPTED))
    assert post(patient(wire), LARGE).outcome is Outcome.ACCEPTED
    assert wire.requests[0].body == LARGE


def test_netrc_does_not_replace_the_api_key(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    wire = serve(answering(ACCEPTED))
    post(patient(wire), BODY)
    assert wire.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_proxy_of_the_environment_is_used(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(answering(ACCEPTED))
    monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
    result = post(account("http://sendgrid.invalid/v3/", 20), BODY)
    assert result.outcome is Outcome.ACCEPTED
    assert proxy.requests[0].line == "POST http://sendgrid.invalid/v3/mail/send HTTP/1.1"
    assert proxy.requests[0].headers["authorization"] == f"Bearer {KEY}"


# What SendGrid answers


def answered(serve: Serve, answer: bytes) -> SendResult:
    return post(patient(serve(answering(answer))), BODY)


def test_a_202_is_accepted_with_its_message_id(serve: Serve) -> None:
    result = answered(serve, ACCEPTED)
    assert result.status_code == 202
    assert result.x_message_id == "fnY2B5dkT0K1cHFs9QmHzA"
    assert result.response is not None
    assert (result.detail, result.wait, result.error) == ("", None, None)


def test_a_202_without_a_message_id_is_accepted(serve: Serve) -> None:
    result = answered(serve, response(202))
    assert (result.outcome, result.x_message_id) == (Outcome.ACCEPTED, "")


SENDER = "The from address does not match a verified Sender Identity. Mail cannot be sent until resolved."


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b"", "accepted"),
        (204, b"", "accepted"),
        (301, b"", "paused"),
        (302, b"<html>login</html>", "paused"),
        (304, b"", "paused"),
        (400, errors({"message": "Bad Request", "field": None, "help": None}), "failed"),
        (401, errors({"message": "Maximum credits exceeded", "field": None}), "paused"),
        (403, errors({"message": SENDER, "field": "from"}), "failed"),
        (403, errors({"message": SENDER, "field": None}), "failed"),
        (403, errors({"message": "no", "field": "personalizations.0.from.email"}), "failed"),
        (403, errors({"message": "access forbidden", "field": None}), "paused"),
        (403, b"", "paused"),
        (403, errors({"message": "You cannot use this template", "field": None}), "failed"),
        (404, b"", "paused"),
        (404, errors({"message": "No such template", "field": "template_id"}), "failed"),
        (405, b"", "paused"),
        (406, b"", "paused"),
        (407, b"", "paused"),
        (408, b"", "retry"),
        (413, b"<html>413</html>", "failed"),
        (415, b"", "paused"),
        (415, errors({"message": "Invalid UTF8 in request", "field": None}), "failed"),
        (422, b"", "failed"),
        (429, errors({"message": "too many requests", "field": None}), "paused"),
        (451, b"", "paused"),
        (500, errors({"message": "Internal", "field": None}), "unknown"),
        (502, b"<html>502</html>", "unknown"),
        (503, b"", "unknown"),
        (504, b"<html>504</html>", "unknown"),
        (999, b"", "unknown"),
    ],
)
def test_each_status_code_has_its_result(serve: Serve, status: int, body: bytes, outcome: str) -> None:
    result = answered(serve, response(status, body, "Location: https://elsewhere.invalid/"))
    assert (result.outcome, result.status_code) == (outcome, status)
    assert result.response is not None
    assert (result.error is None) == (outcome == "accepted")
    if result.error:
        assert result.error.outcome == outcome
        assert result.error.status_code == status
        assert result.error.response is result.response
        assert result.error.response.content == (b"" if status == 304 else body)
        assert str(result.error).startswith(f"SendGrid API response {status}\n")


@pytest.mark.parametrize(
    ("status", "field", "refused"),
    [
        (400, "personalizations.7.to.0.email", {7}),
        (400, None, set()),
        (400, "subject", None),
        (401, "personalizations.7.to.0.email", None),
        (500, "personalizations.7.to.0.email", None),
    ],
)
def test_only_a_refused_mail_has_refused_personalizations(
    serve: Serve, status: int, field: str | None, refused: set[int] | None
) -> None:
    assert answered(serve, response(status, errors({"message": "No.", "field": field}))).refused == refused


@pytest.mark.parametrize(
    ("status", "may_be"), [(401, False), (407, False), (429, False), (403, True), (302, False), (451, True)]
)
def test_some_answers_may_be_about_the_mail_or_about_the_account(
    serve: Serve, status: int, may_be: bool
) -> None:
    assert answered(serve, response(status, b"", "Location: /")).may_be_about_the_mail is may_be


@pytest.mark.parametrize("location", ["/v3/", "http://[::1", "http://./", "ftp://", "\xff"])
@pytest.mark.parametrize("status", [301, 307])
def test_a_redirect_is_not_followed(serve: Serve, status: int, location: str) -> None:
    wire = serve(answering(response(status, b"", f"Location: {location}")))
    result = post(patient(wire), BODY)
    assert (result.outcome, result.status_code) == (Outcome.PAUSED, status)
    assert len(wire.requests) == 1
    assert KEY not in str(vars(result.response))


def test_a_rate_limit_has_a_bounded_wait(serve: Serve) -> None:
    result = answered(serve, response(429, b"", "X-RateLimit-Reset: 99999999999"))
    assert (result.outcome, result.wait) == (Outcome.PAUSED, 600)
    assert answered(serve, response(429)).wait is None
    assert answered(serve, response(401, b"", "X-RateLimit-Reset: 99999999999")).wait is None


def test_the_error_text_of_sendgrid_is_in_the_outcome(serve: Serve) -> None:
    result = answered(serve, response(400, errors({"message": "No.", "field": "subject"})))
    assert result.detail == "No. (subject)"
    assert str(result.error) == (
        'SendGrid API response 400\n{\n  "errors": [\n    {\n      "message": "No.",\n'
        '      "field": "subject"\n    }\n  ]\n}'
    )


def breaks_off_its_answer(head: bytes) -> Behaviour:
    def behave(peer: ClientConnection, requests: list[Request]) -> None:
        peer.request()
        peer.say(head + b"Content-Length: 100\r\n\r\n{")

    return behave


def test_a_truncated_response_counts_by_its_status_code(serve: Serve) -> None:
    wire = serve(breaks_off_its_answer(b"HTTP/1.1 202 Accepted\r\nX-Message-Id: abc\r\n"))
    result = post(patient(wire), BODY)
    assert (result.outcome, result.x_message_id) == (Outcome.ACCEPTED, "abc")

    result = post(patient(serve(breaks_off_its_answer(b"HTTP/1.1 400 Bad Request\r\n"))), BODY)
    assert (result.outcome, result.detail) == (Outcome.FAILED, "400 Bad Request: an empty answer")
    assert pickle.loads(pickle.dumps(result.error)).response.content == b""


# What breaks before SendGrid can have the mail


def broken(url: str, body: bytes = BODY) -> SendResult:
    result = post(account(url), body)
    assert (result.status_code, result.response, result.x_message_id) == (None, None, "")
    assert result.error is not None
    assert result.error.outcome is result.outcome
    assert str(result.error) == result.detail
    return result


def refusing() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"127.0.0.1:{closed.getsockname()[1]}"


def test_a_refused_connection_is_retried() -> None:
    result = broken(f"http://{refusing()}/v3/")
    assert result.outcome is Outcome.RETRY
    assert result.detail == (
        "The mail did not get to SendGrid: ConnectionRefusedError: "
        f"{ConnectionRefusedError(111, os.strerror(111))}"
    )
    assert isinstance(result.error, requests.ConnectionError)


def test_an_unresolved_host_name_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    result = broken("http://sendgrid.invalid/v3/")
    assert result.outcome is Outcome.RETRY
    assert "Name or service not known" in result.detail


def test_a_connect_timeout_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    def time_out(*_: object) -> None:
        raise TimeoutError("timed out")

    # A full backlog or a silent host would do, but not the same on every system.
    monkeypatch.setattr(socket.socket, "connect", time_out)
    result = broken("http://127.0.0.1:9/v3/")
    assert result.outcome is Outcome.RETRY
    assert isinstance(result.error, requests.ConnectTimeout)


def test_an_unreachable_proxy_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{refusing()}")
    result = broken("https://sendgrid.invalid/v3/")
    assert result.outcome is Outcome.RETRY
    assert isinstance(result.error, requests.exceptions.ProxyError)


def test_a_proxy_that_refuses_the_tunnel_is_retried(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def behave(peer: ClientConnection, requests: list[Request]) -> None:
        peer.head()
        peer.say(response(407))

    monkeypatch.setenv("HTTPS_PROXY", f"http://{serve(behave).address}")
    result = broken("https://sendgrid.invalid/v3/")
    assert result.outcome is Outcome.RETRY
    assert "407" in result.detail
    assert isinstance(result.error, requests.exceptions.ProxyError)


def test_a_connection_closed_before_the_end_of_the_body_is_retried(serve: Serve) -> None:
    def behave(peer: ClientConnection, requests: list[Request]) -> None:
        peer.head()
        peer.read(100_000)

    result = broken(serve(behave).url, LARGE)
    assert result.outcome is Outcome.RETRY
    assert isinstance(result.error, requests.ConnectionError)


def test_a_timeout_while_sending_the_body_is_retried(serve: Serve) -> None:
    def behave(peer: ClientConnection, requests: list[Request]) -> None:
        peer.head()
        peer.hang()

    result = broken(serve(behave).url, LARGE)
    assert result.outcome is Outcome.RETRY
    assert result.detail == "The mail did not get to SendGrid: TimeoutError: timed out"


@pytest.mark.parametrize(("status", "outcome"), [(503, "retry"), (413, "failed"), (401, "paused")])
def test_an_early_response_before_the_end_of_the_body_counts_by_its_status_code(
    serve: Serve, status: int, outcome: str
) -> None:
    """A balancer's 503 is then none of SendGrid's: it has not had the mail."""

    def behave(peer: ClientConnection, requests: list[Request]) -> None:
        peer.head()
        peer.say(response(status, b"", "Connection: close"))
        peer.stop_reading()

    result = post(patient(serve(behave)), LARGE)
    assert (result.outcome, result.status_code) == (outcome, status)


@pytest.mark.parametrize("url", ["http://./v3/", "http://[::1/v3/", "http://" + "a" * 64 + ".example/v3/"])
def test_an_invalid_url_is_retried(url: str) -> None:
    assert broken(url).outcome is Outcome.RETRY


def test_an_error_of_the_caller_is_not_in_the_detail() -> None:
    try:
        raise OSError("of the caller's")
    except OSError:
        assert broken("http://./v3/").detail == "The mail did not get to SendGrid: InvalidURL"


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY}\r\nX-Other: 1", f"{KEY}\u200b", "SG.ключ"])
def test_an_invalid_api_key_opens_the_circuit_breaker_without_a_request(serve: Serve, key: str) -> None:
    wire = serve(answering(ACCEPTED))
    result = post(Account("default", api_key=key, api_url=wire.url, timeout=(20, 20)), BODY)
    assert result.outcome is Outcome.PAUSED
    assert key not in repr(result)
    assert wire.connections == 0


# What breaks when SendGrid may have the mail


def hanging(peer: ClientConnection, requests: list[Request]) -> None:
    peer.request()
    peer.hang()


def test_a_response_timeout_is_unknown(serve: Serve) -> None:
    result = broken(serve(hanging).url)
    assert result.outcome is Outcome.UNKNOWN
    assert result.detail == "No answer from SendGrid: TimeoutError: timed out"
    assert isinstance(result.error, requests.ReadTimeout)


def hanging_up(peer: ClientConnection, requests: list[Request]) -> None:
    peer.request()


@pytest.mark.parametrize("body", [BODY, LARGE], ids=["small", "large"])
def test_a_connection_closed_without_a_response_is_unknown(serve: Serve, body: bytes) -> None:
    result = post(patient(serve(hanging_up)), body)
    assert result.outcome is Outcome.UNKNOWN
    assert result.detail.startswith("No answer from SendGrid: RemoteDisconnected: ")
    assert isinstance(result.error, requests.ConnectionError)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 20", b"220 smtp.example.com ESMTP\r\n\r\n", b"\x00" * 70_000])
def test_an_invalid_response_is_unknown(serve: Serve, answer: bytes) -> None:
    def behave(peer: ClientConnection, requests: list[Request]) -> None:
        peer.request()
        peer.say(answer)

    assert post(patient(serve(behave)), BODY).outcome is Outcome.UNKNOWN


# TLS


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def tls(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("127.0.0.1"))
    return context


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.certificate))


def test_an_untrusted_certificate_is_retried(tls: ssl.SSLContext) -> None:
    with HttpServer(answering(ACCEPTED), tls) as wire:
        result = post(patient(wire), BODY)
    assert result.outcome is Outcome.RETRY
    assert "certificate verify failed" in result.detail
    assert isinstance(result.error, requests.exceptions.SSLError)
    assert wire.requests == []


@pytest.mark.usefixtures("trusted")
def test_mails_are_sent_over_one_tls_connection(tls: ssl.SSLContext) -> None:
    with HttpServer(answering(ACCEPTED), tls) as wire:
        assert [post(patient(wire), LARGE).outcome for _ in range(2)] == [Outcome.ACCEPTED] * 2
        assert wire.connections == 1


@pytest.mark.usefixtures("trusted")
def test_a_tls_connection_closed_without_a_response_is_unknown(tls: ssl.SSLContext) -> None:
    with HttpServer(hanging_up, tls) as wire:
        assert post(patient(wire), BODY).outcome is Outcome.UNKNOWN


def test_a_tls_handshake_timeout_is_retried(serve: Serve) -> None:
    wire = serve(lambda peer, requests: peer.hang())
    assert broken(wire.url.replace("http:", "https:")).outcome is Outcome.RETRY


def test_a_server_without_tls_is_retried(serve: Serve) -> None:
    wire = serve(lambda peer, requests: peer.say(b"220 smtp.example.com ESMTP\r\n"))
    result = post(account(wire.url.replace("http:", "https:"), 20), BODY)
    assert result.outcome is Outcome.RETRY
    assert isinstance(result.error, requests.ConnectionError)


def test_a_missing_ca_bundle_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    result = broken("https://sendgrid.invalid/v3/")
    assert result.outcome is Outcome.RETRY
    assert "/nowhere/ca.pem" in result.detail


# Time limits


def test_a_soft_time_limit_passes_through_and_closes_the_connection(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = serve(answering(response(400), ACCEPTED))

    def interrupt(*_: object) -> None:
        raise SoftTimeLimitExceeded

    with monkeypatch.context() as patch:
        patch.setattr(HTTPConnection, "getresponse", interrupt)
        with pytest.raises(SoftTimeLimitExceeded):
            post(patient(wire), BODY)
    # On the old connection it would be the answer to the first that comes now.
    wait_for(lambda: wire.requests, seconds=20, what="the first mail")
    assert post(patient(wire), BODY).outcome is Outcome.ACCEPTED
    assert wire.connections == 2


# Errors


@pytest.mark.parametrize("kind", [RequestsAPIError, *client._ERRORS.values()])
def test_an_api_error_has_the_expected_base_classes_and_can_be_pickled(
    kind: type[RequestsAPIError], serve: Serve
) -> None:
    known = answered(serve, response(400, b'{"errors": []}', "Set-Cookie: a=b")).response
    error = kind("Words.", outcome=Outcome.FAILED, status_code=400, response=known)
    for found in (error, pickle.loads(pickle.dumps(error))):
        assert type(found) is kind
        assert isinstance(found, MailError | APIError)
        assert isinstance(found, requests.HTTPError)
        assert str(found) == "Words."
        assert (found.outcome, found.status_code, found.esp_name) == (Outcome.FAILED, 400, "SendGrid")
        assert found.response.json() == {"errors": []}


@pytest.mark.parametrize(("theirs", "ours"), client._ERRORS.items())
def test_api_errors_are_subclasses_of_requests_errors(
    theirs: type[Exception], ours: type[RequestsAPIError]
) -> None:
    assert issubclass(ours, theirs)


def test_api_errors_have_their_anymail_names() -> None:
    assert exceptions.AnymailAPIError is APIError
    assert exceptions.AnymailRequestsAPIError is RequestsAPIError


def echoing(status: int) -> Behaviour:
    """Answers with what it was sent, as some proxies do."""

    def behave(peer: ClientConnection, requests: list[Request]) -> None:
        while found := peer.request():
            peer.say(response(status, json.dumps({"errors": [{"message": str(found.headers)}]}).encode()))

    return behave


@pytest.mark.parametrize(
    "behave",
    [answering(ACCEPTED), echoing(202), echoing(400), echoing(503), hanging_up, hanging],
    ids=["202", "echo 202", "echo 400", "echo 503", "hangs up", "hangs"],
)
def test_the_api_key_and_addresses_leak_nowhere(
    serve: Serve, behave: Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        wire = serve(behave)
        sender = account(wire.url, 1)
        result = post(sender, BODY)
    shown = [
        repr(sender),
        repr(result),
        result.detail,
        str(result.error),
        repr(result.error),
        caplog.text,
    ]
    shown += [str(record.__dict__) for record in caplog.records]
    # Whoever reports errors follows these.
    shown.append(str(pickle.dumps((result.error, result.response))))
    if result.error:
        assert (result.error.__cause__, result.error.__context__) == (None, None)
    if result.response is not None:
        shown += [result.response.text, str(result.response.request.__dict__)]
    assert not [text for text in shown if KEY in text or ADDRESS in text]
