"""A SendGrid on this machine: takes v3 mail/send, says what it is told to say, posts events back."""

import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Container
from dataclasses import replace
from email.message import EmailMessage
from functools import partial
from typing import Any, Self

from fake_sendgrid import http_server, inbound_form, request_validation, responses, scenarios
from fake_sendgrid.event_webhook import EventPost, EventWebhook, PostingOptions
from fake_sendgrid.http_server import HttpServer, Response
from fake_sendgrid.inbound_webhook import InboundDelivery, InboundWebhook
from fake_sendgrid.multipart_form import MultipartForm
from fake_sendgrid.planned_responses import Condition, PlannedResponses
from fake_sendgrid.recipient_replies import RecipientReplies
from fake_sendgrid.request_log import AcceptedMail, LoggedRequest, RequestLog
from fake_sendgrid.responses import ApiResponse, HeldRequest
from fake_sendgrid.webhook_sender import WebhookSender

_SEND_PATH = "/v3/mail/send"
_SCOPES_PATH = "/v3/scopes"


class FakeSendGrid:
    """Answers from the start, until `close`; also as a context manager.

    `keys` may be changed at any time; None lets any key in. `webhook_url` may be set later: events wait
    for it, and mails that come in for `inbound_url`. Where both are set, mails are answered as well (see
    `fates.answers`). `delay` is how many seconds each mail takes, `keep` how many mails and requests are
    remembered (None: all).
    """

    def __init__(  # noqa: PLR0913 (a double has many knobs, and each has a name)
        self,
        *,
        webhook_url: str | None = None,
        inbound_url: str | None = None,
        sender: WebhookSender | None = None,
        keys: Container[str] | None = frozenset({"SG.fake"}),
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
        self.sender = sender or WebhookSender()
        self._delay = delay
        self._on_request = on_request
        self._on_post = on_post
        self._rng = random.Random(seed)  # noqa: S311 (not for secrets)
        self._closing = threading.Event()
        self._held: list[HeldRequest] = []
        self._responses = PlannedResponses()
        self._log = RequestLog(keep)
        self._server = HttpServer(self._respond, port)
        self._inbound_webhook = InboundWebhook(self.sender, keep=keep, on_post=on_inbound)
        self._inbound_webhook.url = inbound_url
        self._replies = RecipientReplies(self._log)
        self._event_webhook = EventWebhook(self.sender, posting, seed=seed, on_post=self._note)
        self._event_webhook.url = webhook_url
        self._server.open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nobody answers any more, and no event is posted."""
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
    def public_key(self) -> str:
        """What verifies its posts."""
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
        """Each one to mail/send, in the order in which they were answered."""
        return self._log.requests

    def accepted_for(self, value: str) -> list[AcceptedMail]:
        """The mails to an address, or with `value` as a custom argument."""
        return [mail for mail in self.accepted if mail.bears(value)]

    def next(self, *answers: ApiResponse, when: Condition | None = None) -> None:
        """The next valid mails that fit meet these, one each, in order."""
        self._responses.next(*answers, when=when)

    def always(self, answer: ApiResponse, when: Condition | None = None) -> None:
        """All valid mails that fit meet this, until `clear`; of two such answers, the later one."""
        self._responses.always(answer, when)

    def hold(self, when: Condition | None = None, *, after_accepting: bool = False) -> HeldRequest:
        """The next valid mail that fits waits until it is released, and is accepted then.

        Held after accepting, its events follow while its answer is still owed.
        """
        held = HeldRequest(after_accepting=after_accepting)
        self._held.append(held)
        self._responses.next(ApiResponse(status=202, accepts=True, held=held), when=when)
        return held

    def clear(self) -> None:
        """Forget what was ordered and not yet met."""
        self._responses.clear()

    @property
    def posted(self) -> Counter[str]:
        """How often each kind of event has been answered 2xx, repeats as well."""
        return self._event_webhook.posted

    def hold_events(self) -> None:
        """Post none, until `release_events`."""
        self._event_webhook.hold()

    def release_events(self) -> None:
        self._event_webhook.release()

    @property
    def failed_event_count(self) -> int:
        """How many events are kept after a post that was not taken."""
        return self._event_webhook.failed_event_count

    def pause_retries(self) -> None:
        """Do not repeat a post of events that is not taken, until `resume_retries`.

        SendGrid repeats it after a while that grows, and posts newer events meanwhile.
        """
        self._event_webhook.pause_retries()

    def resume_retries(self) -> None:
        self._event_webhook.resume_retries()

    def wait_until_posted(self, seconds: float) -> None:
        """Until all events of all accepted mails have been answered 2xx; raises TimeoutError."""
        self._event_webhook.wait_until_posted(seconds)

    def receive(self, mail: EmailMessage | bytes | MultipartForm) -> InboundDelivery:
        """Post a mail to `inbound_url`, as Inbound Parse does: its form, or the one of `inbound.parsed`.

        In the background, until it is taken (2xx) or lost (3xx, 4xx), which can be waited for.
        """
        return self._inbound_webhook.take(
            mail if isinstance(mail, MultipartForm) else inbound_form.parsed_form(mail)
        )

    @property
    def received(self) -> list[InboundDelivery]:
        """The mails that came in, answers to accepted ones as well."""
        return self._inbound_webhook.received

    def _note(self, post: EventPost) -> None:
        if post.succeeded and self.inbound_url:
            for reply in self._replies.to(post.events):
                self.receive(reply)
        if self._on_post:
            self._on_post(post)

    def _respond(self, request: http_server.Request) -> Response | None:
        path = request.path.partition("?")[0]
        if path == _SEND_PATH and request.method == "POST":
            answer = self._send(request)
        else:
            answer = self._elsewhere(request, path)
        if answer.status is None:
            return None
        return Response(answer.status, answer.all_headers(), answer.body)

    def _elsewhere(self, request: http_server.Request, path: str) -> ApiResponse:
        try:
            request_validation.check_api_key(request.headers, self.keys)
        except request_validation.RequestRejected as refusal:
            return refusal.answer
        if path == _SCOPES_PATH and request.method == "GET":
            return responses.json_response(200, {"scopes": ["mail.send"]})
        return responses.error(405 if path in (_SEND_PATH, _SCOPES_PATH) else 404)

    def _send(self, request: http_server.Request) -> ApiResponse:
        at = time.time()
        mail = None
        try:
            mail = request_validation.read_mail(request.body, request.headers, keys=self.keys, now=at)
            answer = self._meet(self._responses.answer_to(mail), mail, request)
        except request_validation.RequestRejected as refusal:
            answer = refusal.answer
        seen = LoggedRequest(request_validation.api_key_of(request.headers), at, mail, answer)
        self._log.note(seen)
        if self._on_request:
            self._on_request(seen)
        return answer

    def _meet(self, answer: ApiResponse, mail: dict[str, Any], request: http_server.Request) -> ApiResponse:
        """Take the mail or not; what to say in the end."""
        if seconds := self._delay + answer.pause:
            self._closing.wait(seconds)
        held = answer.held
        if held and not held.after_accepting:
            held.wait()
        if self._closing.is_set():
            return responses.close_connection()
        if answer.accepts:
            answer = self._accept(answer, mail, request)
        if held and held.after_accepting:
            held.wait()
        return answer

    def _accept(self, answer: ApiResponse, mail: dict[str, Any], request: http_server.Request) -> ApiResponse:
        taken = AcceptedMail(
            body=mail,
            raw=request.body,
            x_message_id=secrets.token_urlsafe(16),
            key=request_validation.api_key_of(request.headers),
            at=time.time(),
            sandbox=request_validation.is_sandboxed(mail),
        )
        self._log.accept(taken)
        if not taken.sandbox:
            self._event_webhook.take(
                partial(scenarios.events, mail, taken.x_message_id, int(taken.at), self._rng)
            )
        if answer.status != 202:
            return answer
        if taken.sandbox:
            return replace(answer, status=200)
        own = {"X-Message-Id": taken.x_message_id} if answer.with_message_id else {}
        return replace(answer, headers={**answer.headers, **own})
