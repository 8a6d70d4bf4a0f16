"""SendGrid's API of webhook settings: finds the call of a path, and answers it as planned or by the rules."""

import json
import re
import threading
from collections.abc import Callable, Container, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

from fake_sendgrid import http_server, request_validation, responses
from fake_sendgrid.event_webhooks import STATUS_CHANGE, EventWebhooks
from fake_sendgrid.http_server import Response
from fake_sendgrid.parse_settings import ParseSettings
from fake_sendgrid.responses import ApiResponse
from fake_sendgrid.settings_faults import Refused

#: The paths of this API begin with it.
PATH = "/v3/user/webhooks/"

_EVENT, _SIGNED = r"event/settings", r"event/settings/signed"
_PARSE, _POLICIES = r"parse/settings", r"security/policies"


class Call(NamedTuple):
    """A call of this API."""

    method: str
    #: After `PATH`, without the query.
    path: str
    body: Mapping[str, Any]
    #: None: the connection was closed.
    status: int | None

    @property
    def writes(self) -> bool:
        return self.method != "GET"


class _Route(NamedTuple):
    method: str
    pattern: re.Pattern[str]
    status: int
    call: Callable[..., object]

    def response(self, body: object, query: object, found: re.Match[str]) -> ApiResponse:
        names = [unquote(group) if group else None for group in found.groups()]
        try:
            content = self.call(body, query, *names)
        except Refused as refused:
            return refused.response
        if self.status == 204:
            return ApiResponse(status=204)
        return responses.json_response(self.status, content)


class SettingsApi:
    def __init__(self, events: EventWebhooks, parse: ParseSettings) -> None:
        #: Every call with a valid key, oldest first.
        self.calls: list[Call] = []
        self._events = events
        self._parse = parse
        self._lock = threading.Lock()
        self._planned: dict[int, ApiResponse] = {}
        routes: dict[tuple[str, str], tuple[int, Callable[..., object]]] = {
            ("GET", rf"{_EVENT}/all"): (200, self._list_events),
            ("POST", _EVENT): (201, self._create_event),
            ("GET", rf"{_SIGNED}(?:/([^/]+))?"): (200, lambda _b, _q, found: events.signature(found)),
            ("PATCH", rf"{_SIGNED}(?:/([^/]+))?"): (200, lambda body, _q, found: events.sign(found, body)),
            ("GET", rf"{_EVENT}(?:/([^/]+))?"): (200, self._get_event),
            ("PATCH", rf"{_EVENT}(?:/([^/]+))?"): (200, self._change_event),
            ("DELETE", rf"{_EVENT}/([^/]+)"): (204, lambda _b, _q, found: events.delete(found)),
            ("POST", r"event/test"): (204, lambda body, _q: events.post_test(body)),
            ("GET", _PARSE): (200, lambda _b, _q: parse.all()),
            ("POST", _PARSE): (201, lambda body, _q: parse.create(body)),
            ("GET", r"parse/stats"): (200, lambda _b, _q: []),
            ("GET", rf"{_PARSE}/([^/]+)"): (200, lambda _b, _q, found: parse.get(found)),
            ("PATCH", rf"{_PARSE}/([^/]+)"): (200, lambda body, _q, found: parse.change(found, body)),
            ("DELETE", rf"{_PARSE}/([^/]+)"): (204, lambda _b, _q, found: parse.delete(found)),
            ("GET", _POLICIES): (200, lambda _b, _q: parse.policies()),
            ("POST", _POLICIES): (201, lambda body, _q: parse.create_policy(body)),
            ("GET", rf"{_POLICIES}/([^/]+)"): (200, lambda _b, _q, found: parse.policy(found)),
            ("PATCH", rf"{_POLICIES}/([^/]+)"): (
                200,
                lambda body, _q, found: parse.change_policy(found, body),
            ),
            ("DELETE", rf"{_POLICIES}/([^/]+)"): (200, self._delete_policy),
        }
        self._routes = [
            _Route(method, re.compile(pattern), status, call)
            for (method, pattern), (status, call) in routes.items()
        ]

    def plan(self, number: int, response: ApiResponse) -> None:
        """Answer the write with this number, counted from now, by the response: 1 is the next write.

        fake_sendgrid makes the change of the write only if the response accepts writes.
        """
        with self._lock:
            written = sum(call.writes for call in self.calls)
            self._planned[written + number] = response

    def clear(self) -> None:
        """Forget the plans and the calls."""
        with self._lock:
            self._planned.clear()
            self.calls.clear()

    def respond(self, request: http_server.Request, keys: Container[str] | None) -> Response | None:
        """Return the response; None closes the connection."""
        try:
            request_validation.check_api_key(request.headers, keys)
        except request_validation.RequestRejected as rejected:
            return sent(rejected.response)
        path, _, query = request.path.removeprefix(PATH).partition("?")
        with self._lock:
            body = read_object(request.body)
            response = self._answer(request.method, path, parse_qs(query), body)
            self.calls.append(Call(request.method, path, body or {}, response.status))
        return sent(response)

    def _answer(
        self, method: str, path: str, query: Mapping[str, list[str]], body: dict[str, Any] | None
    ) -> ApiResponse:
        planned = None
        if method != "GET":
            planned = self._planned.pop(sum(call.writes for call in self.calls) + 1, None)
        if planned and not planned.accepts:
            return planned
        response = self._carry_out(method, path, query, body)
        return planned or response

    def _carry_out(
        self, method: str, path: str, query: Mapping[str, list[str]], body: dict[str, Any] | None
    ) -> ApiResponse:
        if body is None:
            return responses.error(400)
        is_known = False
        for route in self._routes:
            if found := route.pattern.fullmatch(path):
                is_known = True
                if route.method == method:
                    return route.response(body, query, found)
        return responses.error(405 if is_known else 404)

    def _list_events(self, _body: object, query: Mapping[str, list[str]]) -> object:
        return self._events.all(with_status_change=_with_status_change(query))

    def _create_event(self, body: Mapping[str, Any], query: Mapping[str, list[str]]) -> object:
        return self._events.create(body, with_status_change=_with_status_change(query))

    def _get_event(self, _body: object, query: Mapping[str, list[str]], found: str | None) -> object:
        return self._events.get(found, with_status_change=_with_status_change(query))

    def _change_event(
        self, body: Mapping[str, Any], query: Mapping[str, list[str]], found: str | None
    ) -> object:
        return self._events.change(found, body, with_status_change=_with_status_change(query))

    def _delete_policy(self, _body: object, query: Mapping[str, list[str]], found: str) -> object:
        return self._parse.delete_policy(found, force=query.get("force") == ["true"])


def _with_status_change(query: Mapping[str, list[str]]) -> bool:
    return STATUS_CHANGE in query.get("include", [])


def read_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object; None if the body is another thing."""
    try:
        read = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def sent(response: ApiResponse) -> Response | None:
    """The response on the wire; None closes the connection."""
    if response.status is None:
        return None
    return Response(response.status, response.all_headers(), response.body)
