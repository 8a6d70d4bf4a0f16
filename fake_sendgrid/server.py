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

from fake_sendgrid import answers, contract, door, fates, inbound
from fake_sendgrid.answers import Answer, Held
from fake_sendgrid.courier import Courier, Inbound
from fake_sendgrid.door import Door, Reply
from fake_sendgrid.form import Form
from fake_sendgrid.ledger import Accepted, Ledger, Request
from fake_sendgrid.postman import Post, Postman, Rates
from fake_sendgrid.reply import Replies
from fake_sendgrid.script import Script, When
from fake_sendgrid.webhook import Sender

_SEND = "/v3/mail/send"
_SCOPES = "/v3/scopes"


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
        sender: Sender | None = None,
        keys: Container[str] | None = frozenset({"SG.fake"}),
        port: int = 0,
        rates: Rates = Rates(),  # noqa: B008 (it is frozen)
        delay: float = 0.0,
        seed: int = 1,
        keep: int | None = None,
        on_request: Callable[[Request], None] | None = None,
        on_post: Callable[[Post], None] | None = None,
        on_inbound: Callable[[Inbound], None] | None = None,
    ) -> None:
        self.keys = keys
        self.sender = sender or Sender()
        self._delay = delay
        self._on_request = on_request
        self._on_post = on_post
        self._chance = random.Random(seed)  # noqa: S311 (not for secrets)
        self._closing = threading.Event()
        self._held: list[Held] = []
        self._script = Script()
        self._ledger = Ledger(keep)
        self._door = Door(self._respond, port)
        self._courier = Courier(self.sender, keep=keep, on_post=on_inbound)
        self._courier.url = inbound_url
        self._replies = Replies(self._ledger)
        self._postman = Postman(self.sender, rates, seed=seed, on_post=self._note)
        self._postman.url = webhook_url
        self._door.open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nobody answers any more, and no event is posted."""
        self._closing.set()
        for held in self._held:
            held.release()
        self._door.close()
        self._postman.close()
        self._courier.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._door.port}/v3/"

    @property
    def public_key(self) -> str:
        """What verifies its posts."""
        return self.sender.public_key

    @property
    def webhook_url(self) -> str | None:
        return self._postman.url

    @webhook_url.setter
    def webhook_url(self, url: str | None) -> None:
        self._postman.url = url

    @property
    def inbound_url(self) -> str | None:
        return self._courier.url

    @inbound_url.setter
    def inbound_url(self, url: str | None) -> None:
        self._courier.url = url

    @property
    def accepted(self) -> list[Accepted]:
        return self._ledger.accepted

    @property
    def requests(self) -> list[Request]:
        """Each one to mail/send, in the order in which they were answered."""
        return self._ledger.requests

    def accepted_for(self, value: str) -> list[Accepted]:
        """The mails to an address, or with `value` as a custom argument."""
        return [mail for mail in self.accepted if mail.bears(value)]

    def next(self, *answers: Answer, when: When | None = None) -> None:
        """The next valid mails that fit meet these, one each, in order."""
        self._script.next(*answers, when=when)

    def always(self, answer: Answer, when: When | None = None) -> None:
        """All valid mails that fit meet this, until `clear`; of two such answers, the later one."""
        self._script.always(answer, when)

    def hold(self, when: When | None = None, *, after_accepting: bool = False) -> Held:
        """The next valid mail that fits waits until it is released, and is accepted then.

        Held after accepting, its events follow while its answer is still owed.
        """
        held = Held(after_accepting=after_accepting)
        self._held.append(held)
        self._script.next(Answer(status=202, accepts=True, held=held), when=when)
        return held

    def clear(self) -> None:
        """Forget what was ordered and not yet met."""
        self._script.clear()

    @property
    def posted(self) -> Counter[str]:
        """How often each kind of event has been answered 2xx, repeats as well."""
        return self._postman.posted

    def hold_events(self) -> None:
        """Post none, until `release_events`."""
        self._postman.hold()

    def release_events(self) -> None:
        self._postman.release()

    @property
    def refused(self) -> int:
        """How many events are kept after a post that was not taken."""
        return self._postman.refused

    def keep_refused(self) -> None:
        """Do not repeat a post of events that is not taken, until `repeat_refused`.

        SendGrid repeats it after a while that grows, and posts newer events meanwhile.
        """
        self._postman.keep_refused()

    def repeat_refused(self) -> None:
        self._postman.repeat_refused()

    def wait_until_posted(self, seconds: float) -> None:
        """Until all events of all accepted mails have been answered 2xx; raises TimeoutError."""
        self._postman.wait_until_posted(seconds)

    def receive(self, mail: EmailMessage | bytes | Form) -> Inbound:
        """Post a mail to `inbound_url`, as Inbound Parse does: its form, or the one of `inbound.parsed`.

        In the background, until it is taken (2xx) or lost (3xx, 4xx), which can be waited for.
        """
        return self._courier.take(mail if isinstance(mail, Form) else inbound.parsed(mail))

    @property
    def received(self) -> list[Inbound]:
        """The mails that came in, answers to accepted ones as well."""
        return self._courier.received

    def _note(self, post: Post) -> None:
        if post.is_taken and self.inbound_url:
            for reply in self._replies.to(post.events):
                self.receive(reply)
        if self._on_post:
            self._on_post(post)

    def _respond(self, request: door.Request) -> Reply | None:
        path = request.path.partition("?")[0]
        if path == _SEND and request.method == "POST":
            answer = self._send(request)
        else:
            answer = self._elsewhere(request, path)
        if answer.status is None:
            return None
        return Reply(answer.status, answer.all_headers(), answer.body)

    def _elsewhere(self, request: door.Request, path: str) -> Answer:
        try:
            contract.check_key(request.headers, self.keys)
        except contract.Refusal as refusal:
            return refusal.answer
        if path == _SCOPES and request.method == "GET":
            return answers.json_answer(200, {"scopes": ["mail.send"]})
        return answers.refused(405 if path in (_SEND, _SCOPES) else 404)

    def _send(self, request: door.Request) -> Answer:
        at = time.time()
        mail = None
        try:
            mail = contract.read(request.body, request.headers, keys=self.keys, now=at)
            answer = self._meet(self._script.answer_to(mail), mail, request)
        except contract.Refusal as refusal:
            answer = refusal.answer
        seen = Request(contract.key_of(request.headers), at, mail, answer)
        self._ledger.note(seen)
        if self._on_request:
            self._on_request(seen)
        return answer

    def _meet(self, answer: Answer, mail: dict[str, Any], request: door.Request) -> Answer:
        """Take the mail or not; what to say in the end."""
        if seconds := self._delay + answer.pause:
            self._closing.wait(seconds)
        held = answer.held
        if held and not held.after_accepting:
            held.wait()
        if self._closing.is_set():
            return answers.hang_up()
        if answer.accepts:
            answer = self._accept(answer, mail, request)
        if held and held.after_accepting:
            held.wait()
        return answer

    def _accept(self, answer: Answer, mail: dict[str, Any], request: door.Request) -> Answer:
        taken = Accepted(
            body=mail,
            raw=request.body,
            x_message_id=secrets.token_urlsafe(16),
            key=contract.key_of(request.headers),
            at=time.time(),
            sandbox=contract.is_sandboxed(mail),
        )
        self._ledger.accept(taken)
        if not taken.sandbox:
            self._postman.take(partial(fates.events, mail, taken.x_message_id, int(taken.at), self._chance))
        if answer.status != 202:
            return answer
        if taken.sandbox:
            return replace(answer, status=200)
        own = {"X-Message-Id": taken.x_message_id} if answer.tells_id else {}
        return replace(answer, headers={**answer.headers, **own})
