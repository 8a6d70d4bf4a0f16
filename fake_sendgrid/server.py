"""FakeSendGrid: accepts v3 mail/send requests, responds as planned, and posts events and inbound mail."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Container
from email.message import EmailMessage
from functools import partial
from typing import Self

from fake_sendgrid import http_server, inbound_form, scenarios, settings_api, suppression_api
from fake_sendgrid.account_api import AccountApi
from fake_sendgrid.event_webhook import EventPost, EventWebhook, PostingOptions
from fake_sendgrid.event_webhooks import EventWebhooks
from fake_sendgrid.events import Event
from fake_sendgrid.http_server import HttpServer, Response
from fake_sendgrid.inbound_webhook import InboundDelivery, InboundWebhook
from fake_sendgrid.mail_api import MailApi
from fake_sendgrid.multipart_form import MultipartForm
from fake_sendgrid.parse_settings import ParseSettings
from fake_sendgrid.planned_responses import Condition
from fake_sendgrid.recipient_replies import RecipientReplies, reply_to
from fake_sendgrid.request_log import AcceptedMail, LoggedRequest, RequestLog
from fake_sendgrid.responses import ApiResponse, HeldRequest
from fake_sendgrid.rules.addresses import folded
from fake_sendgrid.suppression_lists import SuppressionLists
from fake_sendgrid.webhook_sender import WebhookSender


class FakeSendGrid:
    """Serves from its creation until `close`. It is also a context manager.

    `keys` are the accepted API keys (None: any); they may change at any time. `webhook_url` and `inbound_url`
    may be set later: events and inbound mails wait for them. With both set, recipients reply to mails (see
    `scenarios.sends_reply`). A mail to one of the `refused` addresses gets a 400, which names the places of
    the addresses if `names_refused`; both may change at any time. Each mail takes `delay` seconds. The last
    `keep` mails and requests are kept (None: all).

    The API of webhook settings makes further webhooks, each with its own URL and key: `event_webhooks`, and
    `parse_settings` for the mail to a host name. `suppressions` are SendGrid's lists of suppressed addresses:
    events put no address there, and mails to listed addresses are accepted like others.
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
        self.sender = sender or WebhookSender()
        self._on_post = [on_post] if on_post else []
        self._rng = random.Random(seed)  # noqa: S311 (not for secrets)
        self._fired: Counter[tuple[str, str, str]] = Counter()
        self._other_paths: Callable[[http_server.Request], Response] | None = None
        self._log = RequestLog(keep)
        self._api = MailApi(
            self._log,
            keys=keys,
            refused=refused,
            names_refused=names_refused,
            delay=delay,
            on_accepted=self._schedule_events,
            on_request=on_request,
        )
        self._server = HttpServer(self._respond, port)
        self._inbound_webhook = InboundWebhook(self.sender, keep=keep, on_post=on_inbound)
        self._inbound_webhook.url = inbound_url
        self._replies = RecipientReplies(self._log)
        self._event_webhook = EventWebhook(self.sender, posting, seed=seed, on_post=self._handle_event_post)
        self._event_webhook.url = webhook_url
        self._replying = threading.Lock()
        self.event_webhooks = EventWebhooks(self._handle_event_post)
        self.parse_settings = ParseSettings(on_inbound)
        self.settings_api = settings_api.SettingsApi(self.event_webhooks, self.parse_settings)
        self.suppressions = SuppressionLists()
        self.suppression_api = suppression_api.SuppressionApi(self.suppressions, self._api.account)
        self._server.open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving and posting events."""
        self._api.close()
        self._server.close()
        self._event_webhook.close()
        self._inbound_webhook.close()
        self.event_webhooks.close()
        self.parse_settings.remove_all()

    @property
    def keys(self) -> Container[str] | None:
        return self._api.keys

    @keys.setter
    def keys(self, keys: Container[str] | None) -> None:
        self._api.keys = keys

    @property
    def refused(self) -> Collection[str]:
        return self._api.refused

    @refused.setter
    def refused(self, addresses: Collection[str]) -> None:
        self._api.refused = addresses

    @property
    def names_refused(self) -> bool:
        return self._api.names_refused

    @names_refused.setter
    def names_refused(self, names: bool) -> None:
        self._api.names_refused = names

    @property
    def account(self) -> AccountApi:
        """What SendGrid tells about the account of the keys."""
        return self._api.account

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
        self._api.planned.next(*responses, when=when)

    def always(self, response: ApiResponse, when: Condition | None = None) -> None:
        """Plan the response to every valid mail that meets `when`, until `clear`. The newest plan wins."""
        self._api.planned.always(response, when)

    def hold(self, when: Condition | None = None, *, after_accepting: bool = False) -> HeldRequest:
        """Let the next valid mail that meets `when` wait for `release`; accept it then.

        With `after_accepting` only the response waits: the mail is accepted and its events follow.
        """
        return self._api.hold(when, after_accepting=after_accepting)

    def clear(self) -> None:
        """Drop all planned responses."""
        self._api.planned.clear()

    def forget(self) -> None:
        """Forget every mail, request and event, and do not post what waits.

        Requests that are held or paused get no response.
        """
        self._api.forget()
        self._event_webhook.clear()
        self.event_webhooks.clear()
        self._inbound_webhook.clear()
        self._fired.clear()

    def reset(self) -> None:
        """As at the start without options: no webhooks, plans, refused and listed addresses, mails, events.

        The API keys and the signing key stay.
        """
        self.webhook_url = self.inbound_url = None
        self.refused, self.posting = (), PostingOptions()
        self.event_webhooks.remove_all()
        self.parse_settings.remove_all()
        self.settings_api.clear()
        self.suppressions.clear()
        self.suppression_api.clear()
        self.clear()
        self.forget()

    @property
    def posting(self) -> PostingOptions:
        return self._event_webhook.posting

    @posting.setter
    def posting(self, posting: PostingOptions) -> None:
        self._event_webhook.posting = posting

    def fire(self, step: str, mail: AcceptedMail, recipient: str, /, **fields: object) -> Event:
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
        for name in ("event", "email", "sg_message_id"):
            if not isinstance(event[name], str):
                raise ValueError(f"{name} of an event must be a string")
        if self._posts_to_webhook_url():
            self._event_webhook.add(event)
        self.event_webhooks.add(event)
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
        self.event_webhooks.wait_until_posted(seconds)

    def receive(self, mail: EmailMessage | bytes | MultipartForm) -> InboundDelivery:
        """Post a mail to `inbound_url` in the background, as Inbound Parse does.

        A mail without a form gets that of `inbound_form.parsed_form`. The delivery can be waited for: it ends
        when the mail is accepted (2xx) or lost (3xx, 4xx).
        """
        answered = (str(mail["In-Reply-To"] or "") if isinstance(mail, EmailMessage) else "") or None
        form = mail if isinstance(mail, MultipartForm) else inbound_form.parsed_form(mail)
        delivery = self.parse_settings.deliver(_host_of(form), form, answered)
        return delivery or self._inbound_webhook.deliver(form, answered)

    @property
    def received(self) -> list[InboundDelivery]:
        """The inbound mails, replies of recipients included."""
        return self._inbound_webhook.received

    def _handle_event_post(self, post: EventPost) -> None:
        if post.succeeded and self.inbound_url:
            with self._replying:  # several webhooks post the same event
                replies = list(self._replies.to(post.events))
            for reply in replies:
                self.receive(reply)
        for callback in self._on_post:
            callback(post)

    def _schedule_events(self, mail: AcceptedMail) -> None:
        if not mail.sandbox:
            make = partial(scenarios.events, mail.body, mail.x_message_id, int(mail.at), self._rng)
            if self._posts_to_webhook_url():
                self._event_webhook.schedule(make)
            self.event_webhooks.schedule(make)

    def _posts_to_webhook_url(self) -> bool:
        # Without any webhook, events wait for a `webhook_url`.
        return bool(self.webhook_url) or not len(self.event_webhooks)

    def _respond(self, request: http_server.Request) -> Response | None:
        if refusal := self.account.forbids(request):
            return Response(403, refusal.headers, refusal.body)
        if request.path.startswith(settings_api.PATH):
            return self.settings_api.respond(request, self.keys)
        if request.path.startswith(suppression_api.PATHS):
            return self.suppression_api.respond(request, self.keys)
        if self._other_paths and not request.path.startswith("/v3/"):
            return self._other_paths(request)
        return self._api.respond(request)


def _host_of(form: MultipartForm) -> str:
    """The host name of the first recipient in the envelope."""
    envelopes = [part.value for part in form.parts if part.name == "envelope"]
    try:
        return str(json.loads(envelopes[0])["to"][0]).rpartition("@")[2].lower()
    except (ValueError, LookupError, TypeError):
        return ""
