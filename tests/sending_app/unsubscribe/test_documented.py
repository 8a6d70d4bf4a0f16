"""The examples of docs/unsubscribe.md do what the page says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from pytest_django import Settings

from events_app.normalize import normalize
from tests.support.documents import block
from tests.support.sending.django_mail import use_backend
from tests.support.sending.unsubscribe_links import PREFIX, header_of, path_of

DOCUMENT = "docs/unsubscribe.md"


def test_the_message_has_a_link_in_headers_and_text(settings: Settings, anymail: Callable[..., None]) -> None:
    use_backend(settings, "sending_app.backends.locmem.EmailBackend")
    anymail(UNSUBSCRIBE_URL=PREFIX)
    exec(block(DOCUMENT, "Send"), {})
    messages: list[Any] = mail.outbox
    (request,) = messages[0].sendgrid_requests
    assert "-unsubscribe_url-" in request["content"][0]["value"]
    ann, bob = request["personalizations"]
    assert header_of(ann) == ann["substitutions"]["-unsubscribe_url-"]
    assert header_of(ann) != header_of(bob)


def test_a_receiver_tells_the_stream(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(block(DOCUMENT, "What your receivers are told"), names)
    event = {"event": "group_unsubscribe", "email": "ann@example.com", "unsubscribe_scope": "news"}
    names["on_event"](normalize({**event, "sendgrid_pipeline": "unsubscribe"}))
    names["on_event"](normalize({"event": "group_unsubscribe", "email": "ann@example.com"}))
    assert capsys.readouterr().out == "ann@example.com has unsubscribed the stream news\n"


def test_a_page_of_the_project_replaces_ours(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "sending_app" / "unsubscribe"
    folder.mkdir(parents=True)
    (folder / "ask.html").write_text(block(DOCUMENT, "Pages of your own"))
    (engine,) = settings.TEMPLATES
    settings.TEMPLATES = [{**engine, "DIRS": [tmp_path]}]
    path = path_of()
    text = Client().get(path).content.decode()
    assert '<html lang="de">' in text
    assert "<h1>Abmelden?</h1>" in text
    assert "Keine Mails dieser Art mehr an a…@example.com." in text
    assert f'action="{path}"' in text
