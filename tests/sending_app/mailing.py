"""Django's mail API over our backends: configured as each Django has it, posted by this process."""

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

from sending_app import delivery
from sending_app.models import Part

DIRECT = "sending_app.backends.direct.EmailBackend"
QUEUED = "sending_app.backends.queued.EmailBackend"

#: For `params`. The direct backend has to do without a database.
BOTH = [pytest.param(DIRECT, id="direct"), pytest.param(QUEUED, id="queued", marks=pytest.mark.django_db)]

#: Django 6.1 and later name their mailers.
HAS_MAILERS = django.VERSION >= (6, 1)

#: What a request has of `hello()` beside its personalizations.
PLAIN: dict[str, Any] = {
    "from": {"email": "shop@example.com"},
    "subject": "Hello",
    "content": [{"type": "text/plain", "value": "It is on its way."}],
}

#: The bodies of the requests that SendGrid has taken, ids as in `without_ids`.
Arrived: TypeAlias = Callable[[], list[dict[str, Any]]]


def hello(**arguments: Any) -> Any:
    """A Django message, nothing of ours; arguments that its class does not know become attributes."""
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


def use(settings: Settings, backend: str, **options: Any) -> None:
    """Have Django send by `backend`; with options, which only `MAILERS` has, on Django 6.1."""
    if HAS_MAILERS:
        settings.MAILERS = {"default": {"BACKEND": backend, "OPTIONS": options}}
    else:
        assert not options
        settings.EMAIL_BACKEND = backend


def use_email_backend(settings: Settings, backend: str) -> None:
    """The same by the setting that there was before, and that Django 6.1 takes with a warning."""
    if HAS_MAILERS:
        del settings.MAILERS
    settings.EMAIL_BACKEND = backend


def connect(**arguments: Any) -> Any:
    """What `get_connection()` gives a project that has not been told yet that it is deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"get_connection\(\) is deprecated")
        return mail.get_connection(**arguments)


@contextmanager
def hearing(signal: Signal, receiver: Callable[..., Any]) -> Iterator[None]:
    """While the receiver is connected to the signal."""
    signal.connect(receiver, weak=False)
    try:
        yield
    finally:
        signal.disconnect(receiver)


def deliver() -> None:
    """Post what is due, as workers would."""
    for lane in Part.Lane:
        while delivery.deliver(lane, 0, call_another=lambda: None):
            pass


def without_ids(body: dict[str, Any]) -> dict[str, Any]:
    """A request's body with "id-0", "id-1" ... in the place of our ids, in the order of their appearance."""
    found = copy.deepcopy(body)
    names: dict[str, str] = {}
    for one in found["personalizations"]:
        args = one.get("custom_args", {})
        if "anymail_id" in args:
            assert uuid.UUID(args["anymail_id"]).version == 4
            args["anymail_id"] = names.setdefault(args["anymail_id"], f"id-{len(names)}")
    return found


def to(*addresses: str, number: int = 0, **fields: Any) -> dict[str, Any]:
    """The personalization of a mail to these that has its id and, with it, these fields."""
    return {
        "to": [{"email": address} for address in addresses],
        "custom_args": {**fields.pop("custom_args", {}), "anymail_id": f"id-{number}"},
        **fields,
    }


#: The request of `hello()`.
ANN = {**PLAIN, "personalizations": [to("ann@example.com")]}
