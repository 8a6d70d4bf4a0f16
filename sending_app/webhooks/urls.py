"""The URLs of webhooks: whether a URL is ours, and its form for SendGrid."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.core.management.base import CommandError
from django.http.request import validate_host
from django.urls import NoReverseMatch, Resolver404, get_script_prefix, resolve, reverse

from events_app.signals import webhook_views

_PORTS = {"https": 443, "http": 80}

#: Hosts to which http is safe: the post does not leave the machine.
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

#: SendGrid takes a URL for one webhook only. The second one of a rotation differs in this number.
_NUMBER = re.compile(r"key=([1-9][0-9]{0,5})")

#: Up to the last "@": a person may have typed a password with "@" or "/".
_CREDENTIALS = re.compile(r"//[^\s\"]*@")


def checked(url: str, webhook: str) -> str:
    """The URL, if SendGrid's posts to it reach this project's view. Raises CommandError.

    `webhook` is "tracking" or "inbound".
    """
    parts = _split(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise CommandError(f"{masked(url)} is no URL of the form https://your.host/path/.")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise CommandError(f"{masked(url)} is not https: anybody on the way could read the mails' events.")
    if parts.username or parts.password:
        raise CommandError("Leave the password out of the URL. --basic-auth puts that of WEBHOOK_SECRET in.")
    if parts.query or parts.fragment:
        raise CommandError("Leave the query out of the URL: rotate uses it for the second webhook.")
    if _view(url, webhook) is None:
        raise CommandError(f"urls.py has no {webhook} webhook at {parts.path or '/'}.{_known_path(webhook)}")
    return url


def is_ours(url: str, webhook: str) -> bool:
    """Whether our project answers posts to the URL, by host and path."""
    hosts = settings.ALLOWED_HOSTS or ([".localhost", *_LOOPBACK] if settings.DEBUG else [])
    host = _split(url).hostname or ""
    return validate_host(host, hosts) and _view(url, webhook) is not None


def view_arguments(url: str, webhook: str) -> Mapping[str, Any]:
    """The arguments of `as_view()` at this URL."""
    view = _view(url, webhook)
    arguments: Mapping[str, Any] = getattr(view, "view_initkwargs", {})
    return arguments


def target(url: str) -> tuple[object, ...]:
    """The server and the view of the URL. Two webhooks with equal targets post to the same view."""
    parts = _split(url)
    # events_app.urls has its webhooks with and without the final slash.
    return parts.scheme, (parts.hostname or "").lower(), _port(parts), parts.path.rstrip("/")


def moved(present: str, wanted: str) -> str:
    """The wanted URL, with the password and the number of the present one if both have the same target."""
    if target(present) != target(wanted):
        return wanted
    path = _split(wanted).path or "/"
    parts = _split(present)
    return present if (parts.path or "/") == path else parts._replace(path=path).geturl()


def query(url: str) -> str:
    return _split(url).query


def number(url: str) -> int | None:
    """The number of the webhook among those with the same target; None for a query of another meaning."""
    query = _split(url).query
    match = _NUMBER.fullmatch(query)
    return int(match[1]) if match else (None if query else 1)


def with_number(url: str, wanted: int) -> str:
    return _split(url)._replace(query=f"key={wanted}").geturl()


def masked(url: str) -> str:
    """The URL, or a text with URLs, for output: with "***" in place of user and password."""
    return _CREDENTIALS.sub("//***@", url)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError
    except ValueError:
        return SplitResult("", "", "", "", "")
    return parts


def _port(parts: SplitResult) -> int | None:
    return parts.port or _PORTS.get(parts.scheme)


def _view(url: str, webhook: str) -> Any:
    """The view function of the webhook at the URL; None without a view, or with another view."""
    path, prefix = _split(url).path or "/", get_script_prefix()
    if not path.startswith(prefix):
        return None
    try:
        view: Any = resolve(f"/{path.removeprefix(prefix)}").func
    except Resolver404:
        return None
    view_class = getattr(view, "view_class", None)
    is_webhook = isinstance(view_class, type) and issubclass(view_class, webhook_views[webhook])
    return view if is_webhook else None


def _known_path(webhook: str) -> str:
    try:
        return f" There is {reverse(f'events_app:sendgrid_{webhook}_webhook')}."
    except NoReverseMatch:
        return " Include events_app.urls."
