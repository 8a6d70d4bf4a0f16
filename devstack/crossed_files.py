"""`./dev figures --crossed`: lists the files that an event, a mail and an inbound mail cross.

It starts a Valkey and uses SQLite. Web and worker code run in one process, where a profiler sees each call.
"""

import json
import os
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from email.message import EmailMessage
from pathlib import Path
from types import FrameType
from typing import Any

from devstack.figures import APPS
from devstack.stack import ROOT, Stack
from devstack.valkey import Valkey
from fake_sendgrid.events import generate_events
from fake_sendgrid.inbound_form import raw_form
from fake_sendgrid.server import FakeSendGrid
from fake_sendgrid.webhook_sender import WebhookSender, event_batch

#: The file in which a mail reaches the socket; the count ends there.
SOCKET = "urllib3/connection.py"

_RUN = "from devstack import crossed_files; crossed_files.show()"


def crossed() -> dict[str, list[str]]:
    """Return the crossed files of each, in the order of entry."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pipeline-figures-")))
        valkey = stack.enter_context(Valkey(folder / "valkey"))
        sendgrid = stack.enter_context(FakeSendGrid())
        key = folder / "key.pem"
        sender = WebhookSender.from_key_file(key)
        settings = {
            "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
            "REDIS_URL": valkey.url(0),
            "CELERY_BROKER_URL": valkey.url(1),
            "SENDGRID_API_KEY": "SG.fake",
            "SENDGRID_API_URL": sendgrid.url,
            "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY": sender.public_key,
            "SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY": sender.public_key,
            "INBOUND_FOLDER": str(folder / "inbound"),
            "FIGURES_KEY": str(key),
        }
        deployment = Stack(folder, settings)
        deployment.manage("migrate", "--verbosity", "0")
        found: dict[str, list[str]] = json.loads(deployment.manage("shell", "-v", "0", "-c", _RUN))
        return found


class Recorder:
    """Records each file of the apps that a call enters, until `stop`."""

    def __init__(self) -> None:
        self.files: dict[str, None] = {}
        self._over = False

    def stop(self) -> None:
        self._over = True

    @contextmanager
    def on(self) -> Iterator[None]:
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def _note(self, frame: FrameType, event: str, _arg: object) -> None:
        if event != "call" or self._over:
            return
        path = Path(frame.f_code.co_filename)
        if path.as_posix().endswith(SOCKET):
            self._over = True
        elif path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in APPS:
            self.files[str(path.relative_to(ROOT))] = None


def show() -> None:
    """Print the result of `crossed`. This runs in the deployment's process."""
    ways = {"an event": _event, "a mail": _mail, "an inbound mail": _inbound}
    print(json.dumps({name: _warm(way) for name, way in ways.items()}))


def _warm(way: Callable[[Recorder], None]) -> list[str]:
    """Return the shortest of three runs: under load a slow server causes another path."""
    way(Recorder())  # the first run fills caches
    recorders = [Recorder() for _ in range(3)]
    for recorder in recorders:
        way(recorder)
    return min((list(recorder.files) for recorder in recorders), key=len)


def _event(recorder: Recorder) -> None:
    from events_app import tasks  # noqa: PLC0415 (it needs the apps)
    from events_app.signals import tracking  # noqa: PLC0415

    # The same id again would make the event a duplicate.
    body = event_batch([{**generate_events(1)[0], "sg_event_id": uuid.uuid4().hex}])
    with _received(tracking, recorder), recorder.on():
        _post("tracking", body, _sender().headers(body))
        tasks.drain()


def _mail(recorder: Recorder) -> None:
    from django.core.mail import EmailMessage as DjangoMessage  # noqa: PLC0415

    from sending_app import tasks  # noqa: PLC0415

    with recorder.on():
        DjangoMessage("Hello", "Hello", "shop@example.com", ["ann@example.com"]).send()
        tasks.deliver_mails()


def _inbound(recorder: Recorder) -> None:
    from events_app import tasks  # noqa: PLC0415
    from events_app.signals import inbound  # noqa: PLC0415

    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "ann@example.com", "shop@parse.example.com", "Hello"
    mail["Message-ID"] = f"<{uuid.uuid4().hex}@example.com>"
    mail.set_content("Hello")
    form = raw_form(mail)
    body = form.body()
    with _received(inbound, recorder), recorder.on():
        _post("inbound", body, _sender().headers(body, content_type=form.content_type))
        tasks.deliver_inbound()


@contextmanager
def _received(signal: Any, recorder: Recorder) -> Iterator[None]:
    from events_app.signals import tracking  # noqa: PLC0415

    def receiver(event: Any, **_: Any) -> None:
        if signal is not tracking:
            str(event.message.text)  # a mail is parsed on access
        recorder.stop()

    signal.connect(receiver, dispatch_uid="figures", weak=False)
    try:
        yield
    finally:
        signal.disconnect(dispatch_uid="figures")


def _post(what: str, body: bytes, headers: dict[str, str]) -> None:
    from django.test import Client  # noqa: PLC0415

    kind = headers.pop("Content-Type")
    client = Client(SERVER_NAME="localhost")
    answer = client.post(f"/anymail/sendgrid/{what}/", data=body, content_type=kind, headers=headers)
    if answer.status_code != 200:
        raise RuntimeError(f"the webhook answered {answer.status_code}")


def _sender() -> WebhookSender:
    return WebhookSender.from_key_file(Path(os.environ["FIGURES_KEY"]))
