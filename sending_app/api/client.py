"""One POST to SendGrid, and what its outcome is worth.

SendGrid has no way to say "this is the mail I sent before" (Mail Send's specification), so what matters
most is to tell a mail that SendGrid surely does not have from one that it may have.
"""

import io
import sys
from dataclasses import dataclass
from importlib import metadata

import requests
import urllib3
from requests.auth import AuthBase

from sending_app.account import Account
from sending_app.api import sessions
from sending_app.api.response import Answer, printable
from sending_app.exceptions import (
    ConnectionFailed,
    ConnectTimedOut,
    Outcome,
    ProxyFailed,
    ReadTimedOut,
    RequestsAPIError,
    TLSFailed,
)

# The first that fits: some of requests' errors are two of these.
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
    #: None where no answer came.
    status_code: int | None = None
    #: SendGrid's id of the request, for all its recipients. It can be missing (sendgrid/docs issue 3855).
    x_message_id: str = ""
    #: SendGrid's own words, or ours where it said nothing.
    detail: str = ""
    #: Seconds until SendGrid's rate limit is over, where it says so.
    wait: float | None = None
    #: For who sends without a queue; None where the mail is accepted.
    error: RequestsAPIError | None = None
    #: Without the key and the body in its request.
    response: requests.Response | None = None


#: Any other 4xx is about the one mail.
ABOUT_THE_ACCOUNT = {
    401,  # the key; also "Maximum credits exceeded" (sendgrid-nodejs issue 1032)
    404,  # `SENDGRID_API_URL`
    405,  # the same
    406,  # something between us changes the headers
    407,  # a proxy's
    415,  # as 406
    429,  # too many requests
    451,  # this host is in another region than the account (API Errors)
}


class _Upload(io.BytesIO):
    """A body that knows whether it was read to its end.

    urllib3 takes it block by block, each when the one before is with the socket. While the last one is
    not taken, SendGrid cannot have the mail, whatever broke: it has fewer bytes than Content-Length says.
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


class _Bearer(AuthBase):
    # Not a plain header: a netrc entry for the host would take its place.
    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def _version() -> str:
    try:
        return metadata.version("django-sendgrid-pipeline")
    except metadata.PackageNotFoundError:  # a checkout
        return "source"


_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",  # without it, SendGrid may answer 406 (API Errors)
    "User-Agent": f"django-sendgrid-pipeline/{_version()}",
}


def post(account: Account, body: bytes) -> SendResult:
    """Post the body of a mail; what goes wrong with that is an outcome and not raised."""
    if not (account.api_key.isascii() and account.api_key.isprintable()):
        # Checked here: an error of http.client's would quote it.
        return _unanswered(Outcome.PAUSED, "The API key has characters that no key has: a line's end?")
    upload, callers = _Upload(body), sys.exception()
    try:
        with sessions.session(account.api_url) as session:
            response = _exchange(session, account, upload)
    # Errors of requests are OSErrors. It lets through some of urllib3's, and a missing CA bundle's as it is.
    except (OSError, urllib3.exceptions.HTTPError) as fault:
        outcome = _unless_cut_short(upload)
        what = "No answer from SendGrid" if upload.is_whole else "The mail did not get to SendGrid"
        return _unanswered(outcome, printable(f"{what}: {_cause(fault, callers)}"), fault)
    return _answered(response, upload)


def _exchange(session: requests.Session, account: Account, upload: _Upload) -> requests.Response:
    response = session.post(
        f"{account.api_url}mail/send",
        data=upload,
        headers=_HEADERS,
        auth=_Bearer(account.api_key),
        timeout=account.timeout,
        allow_redirects=False,
        stream=True,
    )
    with response:
        try:
            content = response.content
        except (OSError, urllib3.exceptions.HTTPError):
            content = b""  # the status is here, and it is what counts
    # Responses go to loggers, error trackers, result backends: without the mail, and without the key, which
    # a server that is not SendGrid might even send back.
    response._content = content.replace(account.api_key.encode(), b"(the key)")
    response.request.headers.pop("Authorization", None)
    response.request.body = None
    return response


def _answered(response: requests.Response, upload: _Upload) -> SendResult:
    answer = Answer(response.status_code, response.reason or "", response.headers, response.content)
    outcome = _outcome_of(answer, upload)
    if outcome is Outcome.ACCEPTED:
        x_message_id = printable(response.headers.get("X-Message-Id", "")).strip()[:255]
        return SendResult(outcome, answer.status, x_message_id, response=response)
    wait = answer.wait() if answer.status == 429 else None
    text = f"SendGrid API response {answer.status}\n{answer.full_text()}"
    error = RequestsAPIError(text, outcome=outcome, status_code=answer.status, response=response)
    return SendResult(outcome, answer.status, "", answer.detail(), wait, error, response)


def _outcome_of(answer: Answer, upload: _Upload) -> Outcome:
    status = answer.status
    if 200 <= status < 300:
        return Outcome.ACCEPTED
    if 300 <= status < 400 or status in ABOUT_THE_ACCOUNT:
        return Outcome.PAUSED
    if status == 403:  # from; or the key's scope, or a block (API Responses)
        return Outcome.FAILED if answer.refuses_the_sender() else Outcome.PAUSED
    if status == 408:  # it has waited for the rest of the request in vain (RFC 9110)
        return Outcome.RETRY
    return Outcome.FAILED if 400 <= status < 500 else _unless_cut_short(upload)


def _unless_cut_short(upload: _Upload) -> Outcome:
    return Outcome.UNKNOWN if upload.is_whole else Outcome.RETRY


def _unanswered(outcome: Outcome, detail: str, fault: Exception | None = None) -> SendResult:
    kind = next((ours for theirs, ours in _ERRORS.items() if isinstance(fault, theirs)), RequestsAPIError)
    return SendResult(outcome, detail=detail, error=kind(detail, outcome=outcome))


def _cause(fault: BaseException, callers: BaseException | None) -> str:
    """What lies under all that requests and urllib3 have put around it."""
    seen: BaseException | None = fault
    while isinstance(seen, requests.RequestException | urllib3.exceptions.HTTPError):
        seen = seen.__cause__ or seen.__context__
    # At the chain's end is what the caller was handling. Where theirs is all there is, its words may
    # quote the URL.
    known = isinstance(seen, OSError) and seen is not callers
    return f"{type(seen).__name__}: {seen}" if known else type(fault).__name__
