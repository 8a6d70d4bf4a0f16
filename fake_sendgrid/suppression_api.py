"""SendGrid's API of suppression lists and unsubscribe groups.

Source: the published specification (twilio/sendgrid-oai, tsg_suppressions_v3), and Twilio's page "API Key
Permissions List" for the scopes. Where both are silent, this API refuses, so that tests find a client that
relies on a guess.
"""

import re
import threading
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

from fake_sendgrid import http_server, request_validation, responses
from fake_sendgrid.account_api import FORBIDDEN, AccountApi
from fake_sendgrid.http_server import Response
from fake_sendgrid.responses import ApiResponse
from fake_sendgrid.rules import addresses
from fake_sendgrid.settings_api import read_object, sent
from fake_sendgrid.settings_faults import Refused
from fake_sendgrid.suppression_lists import Entry, Group, SuppressionLists

#: The beginnings of the paths of the API.
PATHS = ("/v3/suppression/", "/v3/asm/")

#: Entries of a page, at most.
MOST_ENTRIES = 500

#: The list behind `/asm/suppressions/global`.
_GLOBAL = "unsubscribes"

_VERBS = {"GET": "read", "POST": "create", "DELETE": "delete"}

Query = Mapping[str, list[str]]


class _Request(NamedTuple):
    query: Query
    body: Mapping[str, Any]

    def number(self, name: str) -> int | None:
        """A number of the query. Raises Refused."""
        if name not in self.query:
            return None
        text = self.query[name][-1]
        if not text.isascii() or not text.isdecimal():
            raise Refused(400, f"{name} must be a number", field=name)
        return int(text)

    def emails(self, name: str) -> list[str]:
        """The addresses in the body. Raises Refused."""
        emails = self.body.get(name)
        if not isinstance(emails, list) or not emails:
            raise Refused(400, f"{name} must be a list of addresses", field=name)
        for email in emails:
            for fault in addresses.address({"email": email}, name):
                raise Refused(400, f"{email} is not a valid address: {fault.message}", field=name)
        return emails

    def page(self, entries: Sequence[Any]) -> list[Any]:
        """The part of the entries that `limit` and `offset` ask for. Raises Refused."""
        limit, offset = self.number("limit"), self.number("offset") or 0
        limit = MOST_ENTRIES if limit is None else limit
        if not 1 <= limit <= MOST_ENTRIES:
            raise Refused(400, f"limit must be from 1 to {MOST_ENTRIES}", field="limit")
        return list(entries[offset : offset + limit])


class Call(NamedTuple):
    """A call of this API."""

    method: str
    #: After `/v3/`, with the query.
    path: str
    body: Mapping[str, Any]
    #: None: the connection was closed.
    status: int | None


class SuppressionApi:
    def __init__(self, lists: SuppressionLists, account: AccountApi) -> None:
        #: Every call with a valid key, oldest first.
        self.calls: list[Call] = []
        self._lists = lists
        self._account = account
        self._lock = threading.Lock()
        self._planned: dict[int, ApiResponse] = {}
        name = "(bounces|blocks|invalid_emails|spam_reports)"
        routes: dict[tuple[str, str], tuple[int, Callable[..., object]]] = {
            ("GET", f"suppression/({name[1:-1]}|unsubscribes)"): (200, self._list),
            ("DELETE", f"suppression/{name}"): (204, self._delete_many),
            ("GET", f"suppression/{name}/([^/]+)"): (200, self._get),
            ("DELETE", f"suppression/{name}/([^/]+)"): (204, self._delete),
            ("GET", "asm/groups"): (200, self._list_groups),
            ("POST", "asm/groups"): (201, self._create_group),
            ("GET", r"asm/groups/(\d+)/suppressions"): (200, self._list_members),
            ("POST", r"asm/groups/(\d+)/suppressions"): (201, self._add_members),
            ("DELETE", r"asm/groups/(\d+)/suppressions/([^/]+)"): (204, self._delete_member),
            ("POST", "asm/suppressions/global"): (201, self._add_global),
            ("GET", "asm/suppressions/global/([^/]+)"): (200, self._get_global),
            ("DELETE", "asm/suppressions/global/([^/]+)"): (204, self._delete_global),
            ("GET", "asm/suppressions"): (200, self._list_all_members),
            ("GET", "asm/suppressions/([^/]+)"): (200, self._groups_of),
        }
        self._routes = [
            (method, re.compile(pattern), status, call)
            for (method, pattern), (status, call) in routes.items()
        ]

    def plan(self, number: int, response: ApiResponse) -> None:
        """Answer the call with this number, counted from now, by the response: 1 is the next call.

        fake_sendgrid makes the change of a call only if the response accepts writes.
        """
        with self._lock:
            self._planned[len(self.calls) + number] = response

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
        path, _, query = request.path.removeprefix("/v3/").partition("?")
        body = read_object(request.body)
        with self._lock:
            planned = self._planned.pop(len(self.calls) + 1, None)
            if planned and not planned.accepts:
                response = planned
            else:
                made = self._carry_out(request.method, path, parse_qs(query), body)
                response = planned or made
            whole = f"{path}?{query}" if query else path
            self.calls.append(Call(request.method, whole, body or {}, response.status))
        return sent(response)

    def _carry_out(self, method: str, path: str, query: Query, body: dict[str, Any] | None) -> ApiResponse:
        if body is None:
            return responses.error(400)
        is_known = False
        for route_method, pattern, status, call in self._routes:
            if found := pattern.fullmatch(path):
                is_known = True
                if route_method == method:
                    if _scope(method, path) not in self._account.scopes:
                        return responses.error(403, FORBIDDEN)
                    return self._answer(call, status, _Request(query, body), found)
        return responses.error(405 if is_known else 404)

    @staticmethod
    def _answer(
        call: Callable[..., object], status: int, request: _Request, found: re.Match[str]
    ) -> ApiResponse:
        try:
            content = call(request, *map(unquote, found.groups()))
        except Refused as refused:
            return refused.response
        if status == HTTPStatus.NO_CONTENT:
            return ApiResponse(status=status)
        return responses.json_response(status, content)

    # Lists of whole addresses

    def _list(self, request: _Request, name: str) -> object:
        start, end = request.number("start_time"), request.number("end_time")
        wanted = request.query.get("email", [""])[0]
        # The beginning of the address; % stands for any text.
        pattern = re.compile(".*".join(map(re.escape, wanted.split("%"))), re.IGNORECASE)
        entries = [
            entry
            for entry in self._lists.entries(name)
            if (start is None or entry.created >= start)
            and (end is None or entry.created <= end)
            and pattern.match(entry.email)
        ]
        return [entry.answer() for entry in request.page(entries)]

    def _get(self, _request: _Request, name: str, email: str) -> object:
        entry = self._lists.find(name, email)
        return [entry.answer()] if entry else []

    def _delete(self, _request: _Request, name: str, email: str) -> None:
        if not self._lists.remove(name, email):
            raise Refused(404, f"the address is not on the list {name}")

    def _delete_many(self, request: _Request, name: str) -> None:
        if ("emails" in request.body) == bool(request.body.get("delete_all")):
            raise Refused(400, "exactly one of emails and delete_all must be given", field="emails")
        if "emails" not in request.body:
            self._lists.clear_list(name)
            return
        for email in request.emails("emails"):
            self._lists.remove(name, email)

    # Unsubscribe groups

    def _list_groups(self, _request: _Request) -> object:
        return [
            {**group.answer(), "unsubscribes": len(group.members)} for group in self._lists.groups.values()
        ]

    def _create_group(self, request: _Request) -> object:
        texts = {"name": 30, "description": 100}
        for name, longest in texts.items():
            text = request.body.get(name)
            if not isinstance(text, str) or not 1 <= len(text) <= longest:
                raise Refused(400, f"{name} must be a text of up to {longest} characters", field=name)
        name, description = request.body["name"], request.body["description"]
        is_default = request.body.get("is_default") is True
        return self._lists.create_group(lambda number: Group(number, name, description, is_default)).answer()

    def _list_members(self, _request: _Request, group: str) -> object:
        self._require_group(group)
        return self._lists.emails(f"group:{group}")

    def _add_members(self, request: _Request, group: str) -> object:
        emails = request.emails("recipient_emails")
        # "If you attempt to add suppressions to a group that has been deleted or does not exist, the
        # suppressions will be added to the global suppressions list." (tsg_suppressions_v3)
        name = f"group:{group}" if int(group) in self._lists.groups else _GLOBAL
        for email in emails:
            self._lists.add(name, email)
        return {"recipient_emails": emails}

    def _delete_member(self, _request: _Request, group: str, email: str) -> None:
        self._require_group(group)
        self._lists.remove(f"group:{group}", email)

    def _list_all_members(self, request: _Request) -> object:
        # `limit` and `offset` are not documented for this call (sendgrid/docs issue 5178).
        members = request.page([*self._all_members()])
        return [
            {
                "email": entry.email,
                "group_id": group.id,
                "group_name": group.name,
                "created_at": entry.created,
            }
            for group, entry in members
        ]

    def _groups_of(self, _request: _Request, email: str) -> object:
        return {
            "suppressions": [
                {**group.answer(), "suppressed": addresses.folded(email) in group.members}
                for group in self._lists.groups.values()
            ]
        }

    def _all_members(self) -> Iterator[tuple[Group, Entry]]:
        for group in self._lists.groups.values():
            for entry in self._lists.entries(f"group:{group.id}"):
                yield group, entry

    def _require_group(self, group: str) -> None:
        if int(group) not in self._lists.groups:
            raise Refused(404, f"no unsubscribe group has the id {group}")

    # Global unsubscribes

    def _add_global(self, request: _Request) -> object:
        emails = request.emails("recipient_emails")
        for email in emails:
            self._lists.add(_GLOBAL, email)
        return {"recipient_emails": emails}

    def _get_global(self, _request: _Request, email: str) -> object:
        return {"recipient_email": email} if self._lists.find(_GLOBAL, email) else {}

    def _delete_global(self, _request: _Request, email: str) -> None:
        self._lists.remove(_GLOBAL, email)


def _scope(method: str, path: str) -> str:
    """The scope that a key needs for the call."""
    first, second, *rest = path.split("/")
    if first == "suppression":
        area = f"suppression.{second}"
    elif second == "suppressions" and rest[:1] == ["global"]:
        area = "asm.suppressions.global"
    elif second == "suppressions" or rest:
        area = "asm.groups.suppressions"
    else:
        area = "asm.groups"
    return f"{area}.{_VERBS[method]}"
