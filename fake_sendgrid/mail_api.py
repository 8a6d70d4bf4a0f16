"""SendGrid's Mail Send API: accepts or refuses each request as the rules and the planned responses say."""

import secrets
import threading
import time
from collections.abc import Callable, Collection, Container
from dataclasses import replace
from typing import Any

from fake_sendgrid import http_server, request_validation, responses
from fake_sendgrid.account_api import AccountApi
from fake_sendgrid.http_server import Response
from fake_sendgrid.planned_responses import Condition, PlannedResponses
from fake_sendgrid.request_log import AcceptedMail, LoggedRequest, RequestLog
from fake_sendgrid.responses import ApiResponse, HeldRequest
from fake_sendgrid.rules import recipients
from fake_sendgrid.rules.fault import BAD_REQUEST

_SEND_PATH = "/v3/mail/send"


class MailApi:
    """`server.FakeSendGrid` documents the attributes, which may change at any time."""

    def __init__(  # noqa: PLR0913 (each option has a name)
        self,
        log: RequestLog,
        *,
        keys: Container[str] | None,
        refused: Collection[str],
        names_refused: bool,
        delay: float,
        on_accepted: Callable[[AcceptedMail], None],
        on_request: Callable[[LoggedRequest], None] | None,
    ) -> None:
        self.keys = keys
        self.refused = refused
        self.names_refused = names_refused
        self.planned = PlannedResponses()
        self.account = AccountApi()
        self._log = log
        self._delay = delay
        self._on_accepted = on_accepted
        self._on_request = on_request
        self._closing = threading.Event()
        self._held: list[HeldRequest] = []

    def hold(self, when: Condition | None, *, after_accepting: bool) -> HeldRequest:
        held = HeldRequest(after_accepting=after_accepting)
        self._held.append(held)
        self.planned.next(ApiResponse(status=202, accepts=True, held=held), when=when)
        return held

    def forget(self) -> None:
        """Clear the log. Requests that wait get no response."""
        self._log.clear()
        for held in self._held:
            held.release()
        self._held.clear()

    def close(self) -> None:
        """Let no request wait any longer."""
        self._closing.set()
        for held in self._held:
            held.release()

    def respond(self, request: http_server.Request) -> Response | None:
        """Return the response; None closes the connection."""
        path = request.path.partition("?")[0]
        if path == _SEND_PATH and request.method == "POST":
            response = self._handle_send(request)
        else:
            response = self._handle_other(request, path)
        if response.status is None:
            return None
        return Response(response.status, response.all_headers(), response.body)

    def _handle_other(self, request: http_server.Request, path: str) -> ApiResponse:
        try:
            request_validation.check_api_key(request.headers, self.keys)
        except request_validation.RequestRejected as rejected:
            return rejected.response
        if answer := self.account.respond(request):
            return answer
        return responses.error(405 if path == _SEND_PATH else 404)

    def _handle_send(self, request: http_server.Request) -> ApiResponse:
        at = time.time()
        mail = None
        clears = self._log.clears
        try:
            mail = request_validation.read_mail(request.body, request.headers, keys=self.keys, now=at)
            if faults := list(recipients.refused(mail, self.refused)):
                response = responses.error(400, *(faults if self.names_refused else [BAD_REQUEST]))
            else:
                clears = self._log.clears
                response = self._carry_out(self.planned.response_to(mail), mail, request, clears)
        except request_validation.RequestRejected as rejected:
            response = rejected.response
        logged = LoggedRequest(
            request_validation.api_key_of(request.headers), at, mail, response, request.body
        )
        if clears == self._log.clears:
            self._log.add_request(logged)
        if self._on_request:
            self._on_request(logged)
        return response

    def _carry_out(
        self, planned: ApiResponse, mail: dict[str, Any], request: http_server.Request, clears: int
    ) -> ApiResponse:
        """Accept the mail or not, as planned; return the response to send.

        `clears` is the log's: a request that waits while the log is cleared gets no response.
        """
        if seconds := self._delay + planned.pause:
            self._closing.wait(seconds)
        held = planned.held
        if held and not held.after_accepting:
            held.wait()
        if self._closing.is_set() or clears != self._log.clears:
            return responses.close_connection()
        if planned.accepts:
            planned = self._accept(planned, mail, request)
        if held and held.after_accepting:
            held.wait()
            if clears != self._log.clears:
                return responses.close_connection()
        return planned

    def _accept(
        self, planned: ApiResponse, mail: dict[str, Any], request: http_server.Request
    ) -> ApiResponse:
        accepted = AcceptedMail(
            body=mail,
            raw=request.body,
            x_message_id=secrets.token_urlsafe(16),
            key=request_validation.api_key_of(request.headers),
            at=time.time(),
            sandbox=request_validation.is_sandboxed(mail),
        )
        self._log.add_accepted(accepted)
        self._on_accepted(accepted)
        if planned.status != 202:
            return planned
        if accepted.sandbox:
            return replace(planned, status=200)
        message_id = {"X-Message-Id": accepted.x_message_id} if planned.with_message_id else {}
        return replace(planned, headers={**planned.headers, **message_id})
