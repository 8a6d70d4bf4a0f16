"""Authentication of a post by its headers: basic auth or a token, and a signature."""

import time
from collections.abc import Callable, Sequence
from http import HTTPStatus

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.request import HttpHeaders

from events_app import conf
from events_app.shared.counters import Reason
from events_app.shared.log.floods import limited_logger
from events_app.shared.setting import Setting
from events_app.views import basic_auth, bearer, signature
from events_app.views.base import Refusal
from events_app.views.token_faults import INSUFFICIENT_SCOPE, IssuerAway, TokenRefused

logger = limited_logger(__package__)

# In WSGI's form: `request.headers` would build a dict of all headers for each post.
_SIGNATURE = HttpHeaders.to_wsgi_name(signature.SIGNATURE_HEADER)
_TIMESTAMP = HttpHeaders.to_wsgi_name(signature.TIMESTAMP_HEADER)

#: Seconds that a signature's timestamp may lie in the future, by our clock.
MOST_AHEAD = 3600


def accepts_nobody(secrets: Sequence[str], keys: Sequence[str]) -> bool:
    """Whether no credentials are set, so that no post can be authentic."""
    return not (secrets or keys or bearer.takes_tokens())


def signature_headers(request: HttpRequest) -> tuple[str, str]:
    """The timestamp and the signature, or empty strings."""
    return request.META.get(_TIMESTAMP, ""), request.META.get(_SIGNATURE, "")


def check_authorization(
    request: HttpRequest, webhook: str, secrets: Sequence[str], token_max_age: int | None
) -> None:
    """Refuse a post without a password or a token, if any is configured. The age is in seconds.

    Both have the same header, so either opens the webhook: SendGrid can change from one to the other while
    posts come. Raises Refusal; and ImproperlyConfigured if every secret or every client is malformed.
    """
    if secrets and _has_password(request, secrets):
        return
    if bearer.takes_tokens():
        _check_token(request, webhook, token_max_age)
    elif secrets:
        raise Refusal(HTTPStatus.FORBIDDEN, "basic auth is missing or wrong")


def _has_password(request: HttpRequest, secrets: Sequence[str]) -> bool:
    sound = usable_entries(conf.BASIC_AUTH, "entry", secrets, basic_auth.check_secret)
    return basic_auth.is_authorized(request.META.get("HTTP_AUTHORIZATION", ""), sound)


def _check_token(request: HttpRequest, webhook: str, max_age: int | None) -> None:
    authorization = request.META.get("HTTP_AUTHORIZATION", "")
    clients = conf.OAUTH_CLIENTS.get()
    sound = usable_entries(conf.OAUTH_CLIENTS, "entry", clients, basic_auth.check_secret) if clients else []
    try:
        bearer.check_token(authorization, sound, webhook, max_age)
    except IssuerAway as error:
        raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(error), Reason.ISSUER) from None
    except TokenRefused as error:
        # RFC 6750, 3.1: a post without a token learns the scheme, and no error code.
        code = f' error="{error.error}"' if authorization else ""
        is_known = error.error == INSUFFICIENT_SCOPE
        status = HTTPStatus.FORBIDDEN if is_known else HTTPStatus.UNAUTHORIZED
        raise Refusal(status, str(error), challenge=f"Bearer{code}") from None


def check_signature_headers(request: HttpRequest, max_age: int | None) -> None:
    """Refuse a post by the headers of its signature. `max_age` is in seconds. Raises Refusal."""
    timestamp, signed = signature_headers(request)
    if not signed:
        raise Refusal(HTTPStatus.FORBIDDEN, "the signature is missing")
    if not signature.is_well_formed(timestamp=timestamp, signature=signed):
        raise Refusal(HTTPStatus.FORBIDDEN, "the signature or its timestamp is malformed")
    age = time.time() - int(timestamp)
    if max_age is not None and age > max_age:
        raise Refusal(HTTPStatus.FORBIDDEN, f"the signature is older than {max_age} seconds")
    if age < -MOST_AHEAD:
        raise Refusal(HTTPStatus.FORBIDDEN, "the signature is from the future: is this server's clock right?")


def usable_keys(setting: Setting[tuple[str, ...]], keys: Sequence[str]) -> list[str]:
    """The well-formed keys. Raises ImproperlyConfigured if every key is malformed."""
    return usable_entries(setting, "key", keys, signature.load_key)


def usable_entries(
    setting: Setting[tuple[str, ...]], noun: str, texts: Sequence[str], check: Callable[[str], object]
) -> list[str]:
    """The texts without a fault. A fault is logged, so that the remaining texts still work.

    Raises ImproperlyConfigured if no text remains.
    """
    sound = []
    for number, text in enumerate(texts, 1):
        try:
            check(text)
            sound.append(text)
        except ValueError as error:
            logger.error("%s, %s %d: %s", setting.name, noun, number, error)
    if not sound:
        raise ImproperlyConfigured(f"{setting.name} holds no usable {noun}")
    return sound
