"""SendGrid's suppression lists by its API: pages of entries, additions and removals.

Source: twilio/sendgrid-oai, tsg_suppressions_v3. Every call here may be made twice without harm.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote

from events_app.shared.eager import is_eager
from sending_app.account import Account
from sending_app.api import queries
from sending_app.api.queries import Unanswered
from sending_app.api.request import is_sendable
from sending_app.api.response import Answer

#: Entries of a page: the most that SendGrid allows.
PAGE = 500

#: Addresses of a request that adds. No page of SendGrid gives a limit.
ADDED_AT_ONCE = 100

#: Tries of a call that is not answered, or answered by a 5xx.
TRIES = 3

#: Rate limits in a row before a call fails. Each ends at a time that SendGrid tells.
RATE_LIMITS = 10

#: Seconds to wait for a rate limit whose end is not told.
_DEFAULT_WAIT = 60.0

_VERBS = {"GET": "read", "POST": "create", "DELETE": "delete"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ListsFailed(Exception):
    """SendGrid refused a call, or did not answer. The text says what to do."""


class Entry(NamedTuple):
    """An address on a list."""

    email: str
    created: datetime
    #: The id of the unsubscribe group; None on the other lists.
    group: int | None


@dataclass(frozen=True)
class RemoteList:
    """A list at SendGrid, by paths of the API."""

    name: str
    #: Where its entries are read in pages.
    pages: str
    #: Where a single address is removed. The address follows.
    single: str
    #: Where addresses are added; empty: SendGrid alone adds addresses.
    addition: str = ""

    @classmethod
    def of_group(cls, group: int) -> "RemoteList":
        members = f"asm/groups/{group}/suppressions"
        return cls(f"unsubscribe group {group}", MEMBERS, members, addition=members)


#: The members of all groups, with their times. The list of a single group has no times.
MEMBERS = "asm/suppressions"

BOUNCES = RemoteList("bounces", "suppression/bounces", "suppression/bounces")
SPAM_REPORTS = RemoteList("spam reports", "suppression/spam_reports", "suppression/spam_reports")
INVALID_EMAILS = RemoteList("invalid emails", "suppression/invalid_emails", "suppression/invalid_emails")
GLOBAL_UNSUBSCRIBES = RemoteList(
    "global unsubscribes",
    "suppression/unsubscribes",
    "asm/suppressions/global",
    addition="asm/suppressions/global",
)


@dataclass(frozen=True)
class SuppressionLists:
    """The lists of an account. Every call raises ListsFailed."""

    account: Account
    #: Writes a line for the operator.
    say: Callable[[str], None]
    #: Waits so many seconds.
    pause: Callable[[float], None] = time.sleep

    def pages(self, path: str, before: datetime) -> Iterator[list[Entry]]:
        """The entries of a list in pages. Entries without an address, a time or the group are left out.

        Entries of after `before` are left out, so that new ones do not move the others between pages. The
        members of groups have no such filter.
        """
        query = {} if path == MEMBERS else {"end_time": str(int(before.timestamp()))}
        offset, previous = 0, None
        while True:
            page = self._objects(path, {**query, "limit": str(PAGE), "offset": str(offset)})
            # For the members of groups, `limit` and `offset` are not documented (sendgrid/docs issue 5178):
            # an answer may have all entries.
            if page == previous:
                return
            entries = [entry for entry in map(_entry, page) if entry]
            # Without a group a member would be suppressed for all mail.
            yield [entry for entry in entries if path != MEMBERS or entry.group is not None]
            if len(page) != PAGE:
                return
            offset, previous = offset + PAGE, page

    def groups(self) -> list[int]:
        """The ids of the unsubscribe groups."""
        return [group["id"] for group in self._objects("asm/groups", {}) if isinstance(group.get("id"), int)]

    def has(self, remote: RemoteList, email: str, group: int | None) -> bool:
        """Whether the address is on the list, or is a member of the group."""
        if group is None:
            return bool(self._read(f"{remote.single}/{_quoted(email)}", {}))
        answer = self._read(f"{MEMBERS}/{_quoted(email)}", {})
        groups = answer.get("suppressions") if isinstance(answer, dict) else None
        return any(
            isinstance(known, dict) and known.get("id") == group and known.get("suppressed") is True
            for known in groups or ()
        )

    def add(self, remote: RemoteList, emails: Sequence[str]) -> int:
        """Add the addresses, and return how many SendGrid has not refused."""
        if not emails:
            return 0
        answer = self._exchange("POST", remote.addition, body={"recipient_emails": list(emails)})
        if answer.status != HTTPStatus.BAD_REQUEST:
            self._require_success("POST", remote.addition, answer)
            return len(emails)
        # An address may be refused: find which.
        half = len(emails) // 2
        return self.add(remote, emails[:half]) + self.add(remote, emails[half:]) if half else 0

    def remove(self, remote: RemoteList, email: str) -> None:
        """Remove the address. Somebody else may have removed it."""
        path = f"{remote.single}/{_quoted(email)}"
        answer = self._exchange("DELETE", path)
        if answer.status != HTTPStatus.NOT_FOUND:
            self._require_success("DELETE", path, answer)

    def _objects(self, path: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        answer = self._read(path, query)
        if not isinstance(answer, list):
            raise ListsFailed(f"The answer to {path} is no list. Is SENDGRID_API_URL right?")
        return [item for item in answer if isinstance(item, dict)]

    def _read(self, path: str, query: Mapping[str, str]) -> Any:
        answer = self._exchange("GET", path, query=query)
        self._require_success("GET", path, answer)
        try:
            return json.loads(answer.content)
        except (ValueError, RecursionError):
            raise ListsFailed(
                f"The answer to {path} is not JSON, or is longer than {queries.MOST_BYTES} bytes. "
                "Is SENDGRID_API_URL right?"
            ) from None

    def _exchange(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Make a call. Wait for the end of a rate limit, and try a call without a usable answer again."""
        if is_eager():
            raise ListsFailed("This is a test run: SendGrid is not asked.")
        if not is_sendable(self.account.api_key):
            raise ListsFailed("The API key has characters that no key has: a line break?")
        tries = limits = 0
        while True:
            try:
                answer = queries.exchange(self.account, method, path, query=query, body=body)
                failure = None if answer.status < 500 else self._said(answer)
            except Unanswered as fault:
                failure = f"SendGrid did not answer: {fault}."
            if failure:
                tries += 1
                if tries == TRIES:
                    raise ListsFailed(f"{failure} Run the same command again: it repeats nothing.")
                self.pause(2.0**tries)
            elif answer.status == HTTPStatus.TOO_MANY_REQUESTS and limits < RATE_LIMITS:
                limits += 1
                wait = answer.wait() or _DEFAULT_WAIT
                self.say(f"SendGrid's rate limit: waiting {wait:.0f} s.")
                self.pause(wait)
            else:
                return answer

    def _require_success(self, method: str, path: str, answer: Answer) -> None:
        if 200 <= answer.status < 300:
            return
        said = self._said(answer)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            said += f"\nIt does not know the API key of the account {self.account.alias!r}."
        elif answer.status == HTTPStatus.FORBIDDEN:
            said += (
                f"\nThe API key of the account {self.account.alias!r} lacks a scope: {_scope(method, path)}."
            )
        elif answer.status == HTTPStatus.NOT_FOUND:
            said += "\nIs SENDGRID_API_URL right?"
        raise ListsFailed(said)

    def _said(self, answer: Answer) -> str:
        words = answer.detail().replace(self.account.api_key, "***")
        return f"SendGrid answered {answer.status}: {words}"


def _entry(item: Mapping[str, Any]) -> Entry | None:
    email, created, group = (
        item.get("email"),
        item.get("created", item.get("created_at")),
        item.get("group_id"),
    )
    if not isinstance(email, str) or not email.strip() or type(created) is not int:
        return None
    try:
        return Entry(email, _EPOCH + timedelta(seconds=created), group if type(group) is int else None)
    except OverflowError:
        return None


def _quoted(email: str) -> str:
    return quote(email, safe="", errors="surrogatepass")


def _scope(method: str, path: str) -> str:
    """The scope that a call needs. Source: Twilio's page "API Key Permissions List"."""
    if path.startswith("suppression/"):
        area = ".".join(path.split("/")[:2])
    elif path.startswith("asm/suppressions/global"):
        area = "asm.suppressions.global"
    else:
        area = "asm.groups" if path == "asm/groups" else "asm.groups.suppressions"
    return f"{area}.{_VERBS[method]}"
