"""The calls of SendGrid's settings API. A dry run reports each write and does not make it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from django.core.management.base import CommandError

from events_app.shared.eager import is_eager
from sending_app.account import Account
from sending_app.api import queries
from sending_app.api.queries import Unanswered
from sending_app.api.request import is_sendable
from sending_app.api.response import Answer
from sending_app.webhooks import scopes, urls

#: Fields of a body that no output shows.
_SECRET_FIELDS = {"oauth_client_secret", "client_secret"}

_AGAIN = "Run the same command again: it looks first, and goes on from there."


class CallFailed(CommandError):
    """SendGrid refused a call, or did not answer."""

    def __init__(self, text: str, answer: Answer | None = None) -> None:
        super().__init__(text)
        self.status = answer.status if answer else None
        self._errors = answer.errors if answer else []

    @property
    def is_at_maximum(self) -> bool:
        """Whether the plan allows no further webhook."""
        return self.status == HTTPStatus.BAD_REQUEST and any(
            "maximum" in str(error.get("message")).lower() for error in self._errors
        )


@dataclass(frozen=True)
class Calls:
    account: Account
    #: Writes a line for the operator.
    say: Callable[[str], None]
    #: Whether writes are made. Otherwise they are only reported.
    apply: bool = False
    #: The paths of the writes that a dry run has only reported.
    left_out: list[str] = field(default_factory=list)

    def read(self, path: str) -> Any:
        """The JSON of an answer. `path` is that after `/v3/`. Raises CallFailed."""
        return self._exchange("GET", path, None)

    def write(
        self, method: str, path: str, body: Mapping[str, Any] | None, meaning: str, simulated: Any = None
    ) -> Any:
        """Make a call that changes something, and return its JSON. A dry run returns `simulated`.

        `meaning` completes the sentences "Would ..." and "Done: ...". Raises CallFailed.
        """
        if not self.apply:
            shown = json.dumps(_without_secrets(body)) if body is not None else ""
            self.left_out.append(path)
            self.say(f"Would {meaning}.\n    {method} /v3/{path} {shown}".rstrip())
            return simulated
        answer = self._exchange(method, path, body)
        self.say(f"Done: {meaning}.")
        return answer

    def _exchange(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        account = self.account
        if is_eager():
            raise CommandError("This is a test run: SendGrid is not asked.")
        if not is_sendable(account.api_key):
            raise CommandError("The API key has characters that no key has: a line break?")
        try:
            answer = queries.exchange(account, method, path, body=body)
        except Unanswered as fault:
            raise CallFailed(self._unanswered(method, fault)) from None
        if not 200 <= answer.status < 300:
            raise CallFailed(self._refused(method, path, answer), answer)
        if not answer.content.strip():
            return None
        try:
            return json.loads(answer.content)
        except (ValueError, RecursionError):
            raise CallFailed(
                f"{account.api_url} answered {answer.status}, but not with JSON. Is SENDGRID_API_URL right?"
            ) from None

    def _unanswered(self, method: str, fault: Unanswered) -> str:
        if method == "GET" or fault.is_unsent:
            return f"SendGrid did not answer: {fault}. Nothing was changed by this call."
        return f"SendGrid did not answer: {fault}. It may have made the change or not. {_AGAIN}"

    def _refused(self, method: str, path: str, answer: Answer) -> str:
        words = urls.masked(answer.detail()).replace(self.account.api_key, "***")
        said = f"SendGrid answered {answer.status}: {words}"
        where = f"the account {self.account.alias!r}"
        if answer.status == HTTPStatus.UNAUTHORIZED:
            return f"{said}\nIt does not know the API key of {where}. Is it revoked, or of another region?"
        if answer.status == HTTPStatus.FORBIDDEN:
            return f"{said}\n{self._scope_advice(method, path)}"
        if answer.status == HTTPStatus.NOT_FOUND:
            # Lists are read, which nobody can delete.
            why = (
                "Is SENDGRID_API_URL right?" if method == "GET" else "Somebody may have deleted it meanwhile."
            )
            return f"{said}\n{why} {_AGAIN}"
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            wait = answer.wait()
            when = f"in {wait:.0f} seconds" if wait else "in a minute"
            return f"{said}\nThis call changed nothing. Run the same command again {when}."
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            doubt = "This call changed nothing." if method == "GET" else "It may have made the change or not."
            return f"{said}\n{doubt} {_AGAIN}"
        others = [
            f"webhook {error['id']}, {urls.masked(str(error.get('url')))}"
            for error in answer.errors
            if error.get("id")
        ]
        return "\n".join([said, *(f"The other one: {other}" for other in others)])

    def _scope_advice(self, method: str, path: str) -> str:
        needed = scopes.needed(method, path)
        try:
            answer = self.read("scopes") if path != "scopes" else {}
            granted = set(answer["scopes"])
        except (CommandError, LookupError, TypeError):
            granted = None
        return scopes.remedy(needed, granted)


def _without_secrets(body: Any) -> Any:
    if isinstance(body, Mapping):
        return {
            name: "***" if name in _SECRET_FIELDS and value else _without_secrets(value)
            for name, value in body.items()
        }
    return urls.masked(body) if isinstance(body, str) else body
