"""The control API: JSON requests under `/control/` that read and change a local SendGrid."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET
from msgspec.structs import asdict

from fake_sendgrid import control_messages as messages
from fake_sendgrid import responses, scenarios
from fake_sendgrid.http_server import Request, Response
from fake_sendgrid.posted_events import PostedEvents
from fake_sendgrid.request_log import AcceptedMail
from fake_sendgrid.responses import ApiResponse, HeldRequest
from fake_sendgrid.rules.addresses import folded
from fake_sendgrid.server import FakeSendGrid
from fake_sendgrid.website.log_messages import inbound_message, mail_message, request_message

Message = TypeVar("Message", bound=msgspec.Struct)

PATH = "/control/"

#: The options that are fields of PostingOptions.
_POSTING = {"duplicates", "disorder", "delay"}


class ControlError(Exception):
    """A request that cannot be done, with its HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class ControlApi:
    def __init__(self, fake: FakeSendGrid, events: PostedEvents) -> None:
        self._fake = fake
        self._events = events
        self._held: list[HeldRequest] = []
        self._routes: Mapping[tuple[str, str], Callable[[bytes], object]] = {
            ("GET", ""): lambda _: self._state(),
            ("PATCH", ""): self._change,
            ("GET", "mails"): lambda _: [mail_message(mail, events) for mail in fake.accepted],
            ("DELETE", "mails"): lambda _: self.forget(),
            ("GET", "requests"): lambda _: [request_message(request) for request in fake.requests],
            ("GET", "inbound"): lambda _: [inbound_message(delivery) for delivery in fake.received],
            ("POST", "responses"): self._plan,
            ("DELETE", "responses"): lambda _: fake.clear(),
            ("POST", "holds"): self._hold,
            ("POST", "events"): self._fire,
            ("POST", "replies"): self._reply,
            ("GET", "suppressions"): lambda _: self._suppressed(),
            ("POST", "suppressions"): self._suppress,
            ("DELETE", "suppressions"): lambda _: fake.suppressions.clear(),
            ("POST", "wait"): self._wait_until_posted,
            ("POST", "reset"): lambda _: self._reset(),
        }

    def respond(self, request: Request) -> Response:
        """Answer a request to a path below PATH."""
        try:
            return _json(200, self._carry_out(request))
        except ControlError as error:
            return _json(error.status, messages.Error(error=str(error)))
        except (msgspec.ValidationError, ValueError) as error:
            return _json(400, messages.Error(error=str(error)))
        except TimeoutError as error:
            return _json(504, messages.Error(error=str(error)))

    def forget(self) -> None:
        """Forget the mails, the requests, the inbound mails and the events."""
        self._fake.forget()
        self._events.clear()

    def _carry_out(self, request: Request) -> object:
        # A page of another site cannot send this type without asking first, and gets no answer then.
        media_type = request.headers.get("Content-Type", "").partition(";")[0]
        if request.method != "GET" and media_type.strip() != "application/json":
            raise ControlError(415, "Send Content-Type: application/json.")
        path = request.path.partition("?")[0].removeprefix(PATH).strip("/")
        name, *rest = path.split("/")
        if (request.method, name) == ("POST", "holds") and len(rest) == 2:
            self._continue_hold(rest[0], rest[1], request.body)
            return None
        route = self._routes.get((request.method, path))
        if not route:
            known = ", ".join(f"{method} {PATH}{known}" for method, known in self._routes)
            raise ControlError(404, f"No such request. There are: {known}.")
        return route(request.body)

    def _state(self) -> messages.State:
        fake = self._fake
        return messages.State(
            url=fake.url,
            public_key=fake.public_key,
            webhook_url=fake.webhook_url,
            inbound_url=fake.inbound_url,
            refused=sorted(fake.refused),
            duplicates=fake.posting.duplicates,
            disorder=fake.posting.disorder,
            delay=fake.posting.delay,
            posted=dict(fake.posted),
        )

    def _change(self, body: bytes) -> messages.State:
        options = _read(body, messages.Options)
        fake = self._fake
        given = {name: value for name, value in asdict(options).items() if value is not UNSET}
        posting = {name: value for name, value in given.items() if name in _POSTING}
        urls = {name: web_url(given[name]) for name in ("webhook_url", "inbound_url") if name in given}
        for name, url in urls.items():
            setattr(fake, name, url)
        fake.posting = replace(fake.posting, **posting)
        fake.refused = given.get("refused", fake.refused)
        if "hold_events" in given:
            (fake.hold_events if given["hold_events"] else fake.release_events)()
        return self._state()

    def _plan(self, body: bytes) -> None:
        plan = _read(body, messages.Plan)
        if plan.status is not None and HTTPStatus(plan.status) < 200:
            raise ValueError(f"{plan.status} is no final status of a response")
        self._fake.next(*[planned_response(plan)] * plan.times, when=_sent_to(plan.recipient))

    def _hold(self, body: bytes) -> messages.Held:
        hold = _read(body, messages.Hold)
        self._held.append(self._fake.hold(after_accepting=hold.after_accepting))
        return messages.Held(id=len(self._held) - 1)

    def _continue_hold(self, number: str, step: str, body: bytes) -> None:
        if not number.isdecimal() or int(number) >= len(self._held):
            raise ControlError(404, f"No hold has the number {number}.")
        held = self._held[int(number)]
        if step == "release":
            held.release()
        elif step == "wait":
            seconds = _read(body, messages.Wait).seconds
            if not held.arrived.wait(seconds):
                raise TimeoutError(f"no mail has come within {seconds:g} s")
        else:
            raise ControlError(404, "A hold has wait and release.")

    def _fire(self, body: bytes) -> dict[str, Any]:
        fire = _read(body, messages.Fire)
        return self._fake.fire(fire.event, self._find(fire.mail), fire.recipient, **fire.fields)

    def _reply(self, body: bytes) -> None:
        reply = _read(body, messages.Reply)
        if not self._fake.inbound_url:
            raise ControlError(409, "Set inbound_url first: replies are posted there.")
        self._fake.reply(self._find(reply.mail), reply.text, reply.recipient)

    def _suppress(self, body: bytes) -> None:
        wanted = _read(body, messages.Suppress)
        self._fake.suppressions.add(wanted.list, wanted.email, wanted.created, **wanted.fields)

    def _suppressed(self) -> list[messages.Suppressed]:
        lists = self._fake.suppressions
        return [
            messages.Suppressed(list=name, email=entry.email, created=entry.created)
            for name in lists.names()
            for entry in lists.entries(name)
        ]

    def _find(self, message_id: str) -> AcceptedMail:
        for mail in self._fake.accepted:
            if mail.x_message_id == message_id:
                return mail
        raise ControlError(404, f"No mail has the id {message_id}.")

    def _wait_until_posted(self, body: bytes) -> None:
        self._fake.wait_until_posted(_read(body, messages.Wait).seconds)

    def _reset(self) -> None:
        self._fake.reset()
        self._events.clear()
        self._held.clear()


def planned_response(plan: messages.Plan) -> ApiResponse:
    """The response of a plan."""
    success = plan.status is not None and plan.status < 300
    accepts = success if plan.accepts is None else plan.accepts
    if success or plan.status is None:
        response = ApiResponse(status=plan.status, accepts=accepts)
    else:
        response = replace(responses.error(plan.status), accepts=accepts)
    if plan.retry_after is not None:
        # SendGrid sends X-RateLimit-Reset; Retry-After is for proxies and other clients.
        headers = {**response.headers, "Retry-After": f"{plan.retry_after:g}"}
        response = replace(response, headers=headers, resets_in=plan.retry_after)
    return replace(response, pause=plan.pause)


def web_url(url: str | None) -> str | None:
    """Return the URL, or None for an empty one. Raises ValueError for an URL of another scheme."""
    if not url:
        return None
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url} is no URL: it must begin with http:// or https://")
    return url


def _sent_to(recipient: str | None) -> Callable[[dict[str, Any]], bool] | None:
    if recipient is None:
        return None
    return lambda mail: any(folded(email) == folded(recipient) for _, email in scenarios.recipients(mail))


def _read(body: bytes, message: type[Message]) -> Message:
    try:
        return msgspec.convert(json.loads(body or b"{}"), message)
    except RecursionError:
        raise ValueError("the JSON has too many levels") from None


def _json(status: int, body: object) -> Response:
    headers = {
        "Content-Type": "application/json",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
    }
    # Not msgspec.json: a mail may hold halves of surrogate pairs.
    return Response(status, headers, json.dumps(msgspec.to_builtins(body)).encode())
