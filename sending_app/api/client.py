"""Post a mail to SendGrid and tell the outcome.

Mail Send takes no idempotency key, so a retry is only safe if SendGrid surely does not have the mail. The
outcome tells whether SendGrid may have the mail.
"""

import io
import sys
from dataclasses import dataclass

import requests
import urllib3

from events_app.shared import tracing
from events_app.shared.eager import is_eager
from sending_app.account import Account
from sending_app.api import sessions, simulated
from sending_app.api.request import cause, is_sendable
from sending_app.api.response import ABOUT_EITHER, Answer, without_control_characters
from sending_app.api.sessions import Session
from sending_app.exceptions import (
    ConnectionFailed,
    ConnectTimedOut,
    Outcome,
    ProxyFailed,
    ReadTimedOut,
    RequestsAPIError,
    TLSFailed,
)

# In this order: some errors of requests are subclasses of two of these.
_ERRORS: dict[type[Exception], type[RequestsAPIError]] = {
    requests.exceptions.SSLError: TLSFailed,
    requests.exceptions.ProxyError: ProxyFailed,
    requests.ConnectTimeout: ConnectTimedOut,
    requests.ReadTimeout: ReadTimedOut,
    requests.ConnectionError: ConnectionFailed,
}


@dataclass(frozen=True)
class SendResult:
    outcome: Outcome
    #: None: no answer came.
    status_code: int | None = None
    #: SendGrid's id of the request. An answer may lack the id (sendgrid/docs issue 3855).
    x_message_id: str = ""
    #: SendGrid's error text, or ours if SendGrid sent no text.
    detail: str = ""
    #: Seconds until SendGrid's rate limit ends, if the answer says so.
    wait: float | None = None
    #: Of a refused mail: see `Answer.refused_personalizations`.
    refused: frozenset[int] | None = None
    #: For a sender without a queue; None if the mail is accepted.
    error: RequestsAPIError | None = None
    #: Its request has lost the key and the body.
    response: requests.Response | None = None

    @property
    def may_be_about_the_mail(self) -> bool:
        """Whether another mail of the account may pass where SendGrid, or a proxy, refused this mail."""
        # A redirect is about the URL.
        return self.status_code in ABOUT_EITHER


class _Upload(io.BytesIO):
    """A body that records whether urllib3 has read the last block.

    urllib3 reads a block after the socket took the block before. Until the last block is read, SendGrid
    cannot have the mail: SendGrid has received fewer bytes than Content-Length says.
    """

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._size = len(body)
        self.is_whole = False

    def __len__(self) -> int:
        return self._size  # for Content-Length

    def read(self, size: int | None = -1, /) -> bytes:
        block = super().read(size)
        self.is_whole = self.tell() == self._size
        return block


def post(account: Account, body: bytes) -> SendResult:
    """Post the body of a mail. Failures are outcomes; nothing is raised.

    In a test run nothing is posted, and the mail is accepted.
    """
    if is_eager():
        return read_response(simulated.response())
    # SendGrid gets no `traceparent`.
    with tracing.child("POST mail/send", "CLIENT", {"http.request.method": "POST"}) as span:
        result = _post(account, body)
        if result.status_code:
            span.note("http.response.status_code", result.status_code)
        if result.error:
            span.fail(result.error)
    return result


def _post(account: Account, body: bytes) -> SendResult:
    if not is_sendable(account.api_key):
        return _unanswered(Outcome.PAUSED, "The API key has characters that no key has: a line break?")
    upload, callers = _Upload(body), sys.exception()
    try:
        with sessions.session(account.api_url) as session:
            response = _exchange(session, account, upload)
    # Errors of requests are OSErrors. Some errors of urllib3 and of a missing CA bundle are not wrapped.
    except (OSError, urllib3.exceptions.HTTPError) as fault:
        outcome = Outcome.UNKNOWN if upload.is_whole else Outcome.RETRY
        failure = "No answer from SendGrid" if upload.is_whole else "The mail did not get to SendGrid"
        return _unanswered(outcome, without_control_characters(f"{failure}: {cause(fault, callers)}"), fault)
    return read_response(response, upload.is_whole)


def read_response(response: requests.Response, had_whole_request: bool = True) -> SendResult:
    """Read SendGrid's answer."""
    answer = Answer(response.status_code, response.reason or "", response.headers, response.content)
    outcome = answer.outcome(had_whole_request)
    if outcome is Outcome.ACCEPTED:
        x_message_id = without_control_characters(response.headers.get(simulated.X_MESSAGE_ID, "")).strip()[
            :255
        ]
        return SendResult(outcome, answer.status, x_message_id, response=response)
    wait = answer.wait() if answer.status == 429 else None
    text = f"SendGrid API response {answer.status}\n{answer.full_text()}"
    error = RequestsAPIError(text, outcome=outcome, status_code=answer.status, response=response)
    refused = answer.refused_personalizations() if outcome is Outcome.FAILED else None
    return SendResult(outcome, answer.status, "", answer.detail(), wait, refused, error, response)


def _exchange(session: Session, account: Account, upload: _Upload) -> requests.Response:
    response = session.post_body(f"{account.api_url}mail/send", account.api_key, upload, account.timeout)
    with response:
        try:
            content = response.content
        except (OSError, urllib3.exceptions.HTTPError):
            content = b""  # the status is enough
    # Loggers, error trackers and result backends get the response, so it must hold neither the mail nor the
    # key. A server other than SendGrid may even send the key back.
    response._content = content.replace(account.api_key.encode(), b"(the key)")
    response.request.headers.pop("Authorization", None)
    response.request.body = None
    return response


def _unanswered(outcome: Outcome, detail: str, fault: Exception | None = None) -> SendResult:
    error = next((ours for theirs, ours in _ERRORS.items() if isinstance(fault, theirs)), RequestsAPIError)
    return SendResult(outcome, detail=detail, error=error(detail, outcome=outcome))
