"""The website of a local SendGrid: finds the page, the button or the control request of a path."""

import hmac
import re
import secrets
from collections.abc import Callable
from typing import TypeAlias, TypeVar
from urllib.parse import parse_qs

from fake_sendgrid.http_server import Request, Response
from fake_sendgrid.posted_events import PostedEvents
from fake_sendgrid.request_log import AcceptedMail
from fake_sendgrid.server import FakeSendGrid
from fake_sendgrid.website import (
    control,
    guard,
    layout,
    mail_events,
    mail_list,
    mail_page,
    mail_parts,
    request_page,
    setup_page,
)
from fake_sendgrid.website.markup import fill

_NOT_FOUND = """<h1>$title</h1><p>$text</p><p><a href="/">All mails</a></p>"""

Form: TypeAlias = dict[str, str]

Item = TypeVar("Item")


def add_to(fake: FakeSendGrid, *, keep: int | None = None) -> None:
    """Serve the pages and the control API on the port of `fake`, with the events of the last `keep` mails."""
    website = _Website(fake, PostedEvents(keep))
    fake.serve_other_paths(website.respond)


class _NotFound(Exception):
    """There is no page, or what it showed has been forgotten."""


class _Website:
    def __init__(self, fake: FakeSendGrid, events: PostedEvents) -> None:
        self._fake = fake
        self._events = events
        self._control = control.ControlApi(fake, events)
        #: Every form has it: a page of another site cannot read it.
        self._token = secrets.token_urlsafe(16)
        fake.call_after_posts(events.add)
        self._pages: list[tuple[re.Pattern[str], Callable[..., Response]]] = [
            (re.compile(pattern), view)
            for pattern, view in (
                (r"/", self._show_mails),
                (r"/mails/list", self._show_mail_list),
                (r"/setup", self._show_setup),
                (r"/mails/([\w-]+)", self._show_mail),
                (r"/mails/([\w-]+)/events", self._show_events),
                (r"/mails/([\w-]+)/contents/(\d+)", self._show_content),
                (r"/mails/([\w-]+)/attachments/(\d+)", self._download_attachment),
                (r"/mails/([\w-]+)/request", self._download_request),
                (r"/requests/(\d+)", self._show_request),
            )
        ]
        self._buttons: list[tuple[re.Pattern[str], Callable[..., str]]] = [
            (re.compile(r"/clear"), self._clear),
            (re.compile(r"/setup"), self._save_setup),
            (re.compile(r"/mails/([\w-]+)/press"), self._fire),
        ]

    def respond(self, request: Request) -> Response:
        path = request.path.partition("?")[0]
        if refusal := guard.refusal(request):
            return _message(403, "Refused", refusal)
        if path.startswith(control.PATH):
            return self._control.respond(request)
        try:
            return self._show(path) if request.method == "GET" else self._press_button(path, request)
        except _NotFound:
            return _message(404, "Not found", "There is nothing here, or it has been cleared.")
        except ValueError as error:
            return _message(400, "That does not work", str(error))

    def _show(self, path: str) -> Response:
        for pattern, view in self._pages:
            if found := pattern.fullmatch(path):
                return view(*found.groups())
        raise _NotFound

    def _press_button(self, path: str, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs(request.body.decode(errors="replace")).items()}
        if not hmac.compare_digest(form.get("token", "").encode(), self._token.encode()):
            return _message(403, "Refused", "The page is older than this server. Go back and load it again.")
        for pattern, press in self._buttons:
            if found := pattern.fullmatch(path):
                location = press(form, *found.groups())
                # 303: a reload does not press the button again.
                return Response(303, {"Location": location}, b"")
        raise _NotFound

    def _show_mails(self) -> Response:
        return layout.page("Mails", mail_list.main(self._fake, self._events, self._token))

    def _show_mail_list(self) -> Response:
        return layout.fragment(mail_list.mails(self._fake, self._events, self._token))

    def _show_setup(self) -> Response:
        return layout.page("Setup", setup_page.main(self._fake, self._token), section="setup")

    def _show_mail(self, message_id: str) -> Response:
        mail = self._find(message_id)
        main = mail_page.main(self._fake, self._events, mail, self._token)
        return layout.page(mail_parts.subject(mail.body), main)

    def _show_events(self, message_id: str) -> Response:
        return layout.fragment(mail_events.main(self._fake, self._events, self._find(message_id)))

    def _show_content(self, message_id: str, number: str) -> Response:
        mail = self._find(message_id)
        media_type, text = _item(mail_parts.contents(mail.body), number)
        if media_type != "text/html":
            raise _NotFound
        return mail_parts.html_preview(mail, text)

    def _download_attachment(self, message_id: str, number: str) -> Response:
        attachment = _item(mail_parts.attachments(self._find(message_id).body), number)
        return mail_parts.download(attachment.file_name, attachment.content)

    def _download_request(self, message_id: str) -> Response:
        return mail_parts.download("request.json", self._find(message_id).raw)

    def _show_request(self, number: str) -> Response:
        for request in self._fake.requests:
            if mail_list.request_number(request) == number:
                return layout.page("Refused request", request_page.main(request))
        raise _NotFound

    def _clear(self, form: Form) -> str:
        self._control.forget()
        return "/"

    def _save_setup(self, form: Form) -> str:
        urls = [control.web_url(form.get(name, "").strip()) for name in ("webhook_url", "inbound_url")]
        self._fake.webhook_url, self._fake.inbound_url = urls
        return "/setup"

    def _fire(self, form: Form, message_id: str) -> str:
        mail, recipient = self._find(message_id), form.get("recipient", "")
        if form.get("event") == "reply":
            self._fake.reply(mail, form.get("text", ""), recipient)
        else:
            self._fake.fire(form.get("event", ""), mail, recipient)
        number = form.get("number", "")
        return f"/mails/{message_id}" + (f"#recipient-{number}" if number.isdecimal() else "")

    def _find(self, message_id: str) -> AcceptedMail:
        for mail in self._fake.accepted:
            if mail.x_message_id == message_id:
                return mail
        raise _NotFound


def _item(items: list[Item], number: str) -> Item:
    if int(number) >= len(items):
        raise _NotFound
    return items[int(number)]


def _message(status: int, title: str, text: str) -> Response:
    return layout.page(title, fill(_NOT_FOUND, title=title, text=text), status=status)
