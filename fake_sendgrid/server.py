"""FakeSendGrid: accepts v3 mail/send requests, responds as planned, and posts events and inbound mail."""

import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Container
from dataclasses import replace
from email.message import EmailMessage
from functools import partial
from typing import Any, Self

from fake_sendgrid import http_server, inbound_form, request_validation, responses, scenarios
from fake_sendgrid.event_webhook import EventPost, EventWebhook, PostingOptions
from fake_sendgrid.events import Event
from fake_sendgrid.http_server import HttpServer, Response
from fake_sendgrid.inbound_webhook import InboundDelivery, InboundWebhook
from fake_sendgrid.multipart_form import MultipartForm
from fake_sendgrid.planned_responses import Condition, PlannedResponses
from fake_sendgrid.recipient_replies import RecipientReplies, reply_to
from fake_sendgrid.request_log import AcceptedMail, LoggedRequest, RequestLog
from fake_sendgrid.responses import ApiResponse, HeldRequest
from fake_sendgrid.rules import recipients
from fake_sendgrid.rules.addresses import folded
from fake_sendgrid.rules.fault import BAD_REQUEST
from fake_sendgrid.webhook_sender import WebhookSender

_SEND_PATH = "/v3/mail/send"
_SCOPES_PATH = "/v3/scopes"


class FakeSendGrid:
    """Serves from its creation until `close`. It is also a context manager.

    `keys` are the accepted API keys (None: any); they may change at any time. `webhook_url` and `inbound_url`
    may be set later: events and inbound mails wait for them. With both set, recipients reply to mails (see
    `scenarios.sends_reply`). A mail to one of the `refused` addresses gets a 400, which names the places of
    the addresses if `names_refused`; both may change at any time. Each mail takes `delay` seconds. The last
    `keep` mails and requests are kept (None: all).
    """

    def __init__(  # noqa: PLR0913 (each option has a name)
        self,
        *,
        webhook_url: str | None = None,
        inbound_url: str | None = None,
        sender: WebhookSender | None = None,
        keys: Container[str] | None = frozenset({"SG.fake"}),
        refused: Collection[str] = (),
        names_refused: bool = True,
        port: int = 0,
        posting: PostingOptions = PostingOptions(),  # noqa: B008 (it is frozen)
        delay: float = 0.0,
        seed: int = 1,
        keep: int | None = None,
        on_request: Callable[[LoggedRequest], None] | None = None,
        on_post: Callable[[EventPost], None] | None = None,
        on_inbound: Callable[[InboundDelivery], None] | None = None,
    ) -> None:
        self.keys = keys
        self.refused = refused
        self.names_refused = names_refused
        self.sender = sender or WebhookSender()
        self._delay = delay
        self._on_request = on_request
        self._on_post = [on_post] if on_post else []
        self._rng = random.Random(seed)  # noqa: S311 (not for secrets)
        self._closing = threading.Event()
        self._held: list[HeldRequest] = []
        self._fired: Counter[tuple[str, str, str]] = Counter()
        self._other_paths: Callable[[http_server.Request], Response] | None = None
        self._responses = PlannedResponses()
        self._log = RequestLog(keep)
        self._server = HttpServer(self._respond, port)
        self._inbound_webhook = InboundWebhook(self.sender, keep=keep, on_post=on_inbound)
        self._inbound_webhook.url = inbound_url
        self._replies = RecipientReplies(self._log)
        self._event_webhook = EventWebhook(self.sender, posting, seed=seed, on_post=self._handle_event_post)
        self._event_webhook.url = webhook_url
        self._server.open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving and posting events."""
        self._closing.set()
        for held in self._held:
            held.release()
        self._server.close()
        self._event_webhook.close()
        self._inbound_webhook.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}/v3/"

    @property
    def page_url(self) -> str:
        """The URL of the page, if `website.site.add_to` has added it."""
        return f"http://127.0.0.1:{self._server.port}/"

    @property
    def public_key(self) -> str:
        """The key that verifies its posts."""
        return self.sender.public_key

    @property
    def webhook_url(self) -> str | None:
        return self._event_webhook.url

    @webhook_url.setter
    def webhook_url(self, url: str | None) -> None:
        self._event_webhook.url = url

    @property
    def inbound_url(self) -> str | None:
        return self._inbound_webhook.url

    @inbound_url.setter
    def inbound_url(self, url: str | None) -> None:
        self._inbound_webhook.url = url

    @property
    def accepted(self) -> list[AcceptedMail]:
        return self._log.accepted

    @property
    def requests(self) -> list[LoggedRequest]:
        """The requests to mail/send, in the order of their responses."""
        return self._log.requests

    def accepted_for(self, value: str) -> list[AcceptedMail]:
        """The accepted mails to the address `value`, or with `value` as a custom argument."""
        return [mail for mail in self.accepted if mail.matches(value)]

    def next(self, *responses: ApiResponse, when: Condition | None = None) -> None:
        """Plan one response for each of the next valid mails that meet `when`."""
        self._responses.next(*responses, when=when)

    def always(self, response: ApiResponse, when: Condition | None = None) -> None:
        """Plan the response to every valid mail that meets `when`, until `clear`. The newest plan wins."""
        self._responses.always(response, when)

    def hold(self, when: Condition | None = None, *, after_accepting: bool = False) -> HeldRequest:
        """Let the next valid mail that meets `when` wait for `release`; accept it then.

        With `after_accepting` only the response waits: the mail is accepted and its events follow.
        """
        held = HeldRequest(after_accepting=after_accepting)
        self._held.append(held)
        self._responses.next(ApiResponse(status=202, accepts=True, held=held), when=when)
        return held

    def clear(self) -> None:
        """Drop all planned responses."""
        self._responses.clear()

    def forget(self) -> None:
        """Forget every mail, request and event, and do not post what waits. Held requests get no response."""
        for held in self._held:
            held.drop()
        self._held.clear()
        self._event_webhook.clear()
        self._inbound_webhook.clear()
        self._log.clear()
        self._fired.clear()

    def reset(self) -> None:
        """As at the start without options: no URLs of webhooks, plans, refused addresses, mails and events.

        The API keys and the signing key stay.
        """
        self.webhook_url = self.inbound_url = None
        self.refused, self.posting = (), PostingOptions()
        self.clear()
        self.forget()

    @property
    def posting(self) -> PostingOptions:
        return self._event_webhook.posting

    @posting.setter
    def posting(self, posting: PostingOptions) -> None:
        self._event_webhook.posting = posting

    def fire(self, step: str, mail: AcceptedMail, recipient: str, **fields: object) -> Event:
        """Post one more event of a recipient, apart from the scenario and the delay; return the event.

        `step` is one of `events.STEPS`. `fields` replace fields of the event. Raises ValueError.
        """
        self._fired[step, mail.x_message_id, folded(recipient)] += 1
        attempt = self._fired[step, mail.x_message_id, folded(recipient)]
        event = scenarios.event(
            step,
            mail.body,
            recipient,
            message_id=mail.x_message_id,
            at=int(time.time()),
            rng=self._rng,
            attempt=attempt,
        )
        event.update(fields)
        self._event_webhook.add(event)
        return event

    def reply(self, mail: AcceptedMail, text: str, recipient: str | None = None) -> InboundDelivery:
        """Post a recipient's reply (default: the first recipient's) to `inbound_url`. Raises ValueError."""
        return self.receive(reply_to(mail, text, recipient=recipient))

    def serve_other_paths(self, handler: Callable[[http_server.Request], Response]) -> None:
        """Let `handler` answer requests to paths outside of `/v3/`."""
        self._other_paths = handler

    def call_after_posts(self, callback: Callable[[EventPost], None]) -> None:
        """Call `callback` after each post of events, and before `wait_until_posted` returns."""
        self._on_post.append(callback)

    @property
    def posted(self) -> Counter[str]:
        """How many events of each kind the webhook accepted (2xx), duplicates included."""
        return self._event_webhook.posted

    def hold_events(self) -> None:
        """Post no events until `release_events`."""
        self._event_webhook.hold()

    def release_events(self) -> None:
        self._event_webhook.release()

    @property
    def failed_event_count(self) -> int:
        """How many failed events wait for `resume_retries`."""
        return self._event_webhook.failed_event_count

    def pause_retries(self) -> None:
        """Retry no failed post of events until `resume_retries`. Newer events are still posted.

        SendGrid does the same between two retries, whose backoff grows.
        """
        self._event_webhook.pause_retries()

    def resume_retries(self) -> None:
        self._event_webhook.resume_retries()

    def wait_until_posted(self, seconds: float) -> None:
        """Wait until the webhook has accepted (2xx) every event of every mail. Raises TimeoutError."""
        self._event_webhook.wait_until_posted(seconds)

    def receive(self, mail: EmailMessage | bytes | MultipartForm) -> InboundDelivery:
        """Post a mail to `inbound_url` in the background, as Inbound Parse does.

        A mail without a form gets that of `inbound_form.parsed_form`. The delivery can be waited for: it ends
        when the mail is accepted (2xx) or lost (3xx, 4xx).
        """
        answered = str(mail["In-Reply-To"] or "") if isinstance(mail, EmailMessage) else ""
        return self._inbound_webhook.deliver(
            mail if isinstance(mail, MultipartForm) else inbound_form.parsed_form(mail), answered or None
        )

    @property
    def received(self) -> list[InboundDelivery]:
        """The inbound mails, replies of recipients included."""
        return self._inbound_webhook.received

    def _handle_event_post(self, post: EventPost) -> None:
        if post.succeeded and self.inbound_url:
            for reply in self._replies.to(post.events):
                self.receive(reply)
        for callback in self._on_post:
            callback(post)

    def _respond(self, request: http_server.Request) -> Response | None:
        path = request.path.partition("?")[0]
        if self._other_paths and not path.startswith("/v3/"):
            return self._other_paths(request)
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
        if path == _SCOPES_PATH and request.method == "GET":
            return responses.json_response(200, {"scopes": ["mail.send"]})
        return responses.error(405 if path in (_SEND_PATH, _SCOPES_PATH) else 404)

    def _handle_send(self, request: http_server.Request) -> ApiResponse:
        at = time.time()
        mail = None
        try:
            mail = request_validation.read_mail(request.body, request.headers, keys=self.keys, now=at)
            if faults := list(recipients.refused(mail, self.refused)):
                response = responses.error(400, *(faults if self.names_refused else [BAD_REQUEST]))
            else:
                response = self._carry_out(self._responses.response_to(mail), mail, request)
        except request_validation.RequestRejected as rejected:
            response = rejected.response
        logged = LoggedRequest(
            request_validation.api_key_of(request.headers), at, mail, response, request.body
        )
        self._log.add_request(logged)
        if self._on_request:
            self._on_request(logged)
        return response

    def _carry_out(
        self, planned: ApiResponse, mail: dict[str, Any], request: http_server.Request
    ) -> ApiResponse:
        """Accept the mail or not, as planned; return the response to send."""
        if seconds := self._delay + planned.pause:
            self._closing.wait(seconds)
        held = planned.held
        if held and not held.after_accepting:
            held.wait()
        if self._closing.is_set() or (held and held.dropped):
            return responses.close_connection()
        if planned.accepts:
            planned = self._accept(planned, mail, request)
        if held and held.after_accepting:
            held.wait()
            if held.dropped:
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
        if not accepted.sandbox:
            self._event_webhook.schedule(
                partial(scenarios.events, mail, accepted.x_message_id, int(accepted.at), self._rng)
            )
        if planned.status != 202:
            return planned
        if accepted.sandbox:
            return replace(planned, status=200)
        message_id = {"X-Message-Id": accepted.x_message_id} if planned.with_message_id else {}
        return replace(planned, headers={**planned.headers, **message_id})
