"""Django's mail API over our backends, and the request bodies that result."""

import copy
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import django
import pytest
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.dispatch import Signal
from pytest_django import Settings

from sending_app.delivery import sender
from sending_app.models import Mail

DIRECT = "sending_app.backends.direct.EmailBackend"
QUEUED = "sending_app.backends.queued.EmailBackend"
LOCMEM = "sending_app.backends.locmem.EmailBackend"

#: For `params`. The direct backend has to do without a database.
BOTH_BACKENDS = [
    pytest.param(DIRECT, id="direct"),
    pytest.param(QUEUED, id="queued", marks=pytest.mark.django_db),
]

#: Django 6.1 and later name their mailers.
HAS_MAILERS = django.VERSION >= (6, 1)

#: The request of `django_message()` without its personalizations.
SHARED_CONTENT: dict[str, Any] = {
    "from": {"email": "shop@example.com"},
    "subject": "Hello",
    "content": [{"type": "text/plain", "value": "It is on its way."}],
}

#: The bodies of the requests that SendGrid has taken, ids as in `without_ids`.
Arrived: TypeAlias = Callable[[], list[dict[str, Any]]]


def django_message(**arguments: Any) -> Any:
    """A message of Django's own class; arguments that the class does not know become attributes."""
    known = {"subject", "body", "from_email", "to", "cc", "bcc", "reply_to", "headers", "attachments"}
    message = EmailMultiAlternatives(
        **{
            "subject": "Hello",
            "body": "It is on its way.",
            "to": ["ann@example.com"],
            **{name: value for name, value in arguments.items() if name in known},
        }
    )
    for name in arguments.keys() - known:
        setattr(message, name, arguments[name])
    return message


def use_backend(settings: Settings, backend: str, **options: Any) -> None:
    """Have Django send by `backend`; with options, which only `MAILERS` has, on Django 6.1."""
    if HAS_MAILERS:
        settings.MAILERS = {"default": {"BACKEND": backend, "OPTIONS": options}}
    else:
        assert not options
        settings.EMAIL_BACKEND = backend


def mailer_settings(backend: str) -> dict[str, Any]:
    """The settings, for `override_settings`, that have Django send by `backend`."""
    return {"MAILERS": {"default": {"BACKEND": backend}}} if HAS_MAILERS else {"EMAIL_BACKEND": backend}


def use_email_backend(settings: Settings, backend: str) -> None:
    """Set `EMAIL_BACKEND`, which Django 6.1 accepts with a warning."""
    if HAS_MAILERS:
        del settings.MAILERS
    settings.EMAIL_BACKEND = backend


def connection_of(**arguments: Any) -> Any:
    """`get_connection()`, without the warning of Django 6.1 that it is deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"get_connection\(\) is deprecated")
        return mail.get_connection(**arguments)


@contextmanager
def receiver_connected(signal: Signal, receiver: Callable[..., Any]) -> Iterator[None]:
    """While the receiver is connected to the signal."""
    signal.connect(receiver, weak=False)
    try:
        yield
    finally:
        signal.disconnect(receiver)


def post_due_mail() -> None:
    """Post all due parts, as workers would."""
    for lane in Mail.Lane:
        while sender.post_due_mails(lane, 0, wake_another=lambda: None):
            pass


def without_ids(body: dict[str, Any]) -> dict[str, Any]:
    """A request's body with "id-0", "id-1" ... in the place of our ids, in the order of their appearance."""
    found = copy.deepcopy(body)
    names: dict[str, str] = {}
    for one in found["personalizations"]:
        args = one.get("custom_args", {})
        if "anymail_id" in args:
            assert uuid.UUID(args["anymail_id"]).version == 7
            args["anymail_id"] = names.setdefault(args["anymail_id"], f"id-{len(names)}")
    return found


def personalization_to(*addresses: str, number: int = 0, **fields: Any) -> dict[str, Any]:
    """The personalization of a mail to these addresses, with its id and further fields."""
    return {
        "to": [{"email": address} for address in addresses],
        "custom_args": {**fields.pop("custom_args", {}), "anymail_id": f"id-{number}"},
        **fields,
    }


#: The request of `django_message()`.
REQUEST_BODY = {**SHARED_CONTENT, "personalizations": [personalization_to("ann@example.com")]}


#: Sends a message; returns the body of the one request SendGrid got of it, our ids made "id-0", "id-1" ...
Sent: TypeAlias = Callable[[Any], dict[str, Any]]
