"""Access tokens of OAuth 2.0 in the Authorization header of a post (RFC 6750).

SendGrid gets the token at a URL by client credentials, keeps it, and sends it with each post. When an answer
of 400, 401 or 403 has `invalid_request`, `invalid_token` or `insufficient_scope` in its body, SendGrid gets a
new token and posts again (Twilio docs, "Getting Started with the Event Webhook Security Features").
"""

from collections.abc import Sequence

from django.core.exceptions import ImproperlyConfigured

from events_app import conf
from events_app.views import own_tokens
from events_app.views.token_faults import INSUFFICIENT_SCOPE, INVALID_TOKEN, TokenRefused

#: What an issuer's tokens need.
_ISSUER_SETTINGS = (conf.OAUTH_JWKS_URL, conf.OAUTH_AUDIENCE)


def takes_tokens() -> bool:
    """Whether posts may have a token."""
    return bool(conf.OAUTH_CLIENTS.get() or conf.OAUTH_ISSUER.get())


def fault_of_issuer() -> str:
    """What the tokens of `WEBHOOK_OAUTH_ISSUER` lack, or an empty string."""
    if not conf.OAUTH_ISSUER.get():
        return ""
    if missing := [setting.name for setting in _ISSUER_SETTINGS if not setting.get()]:
        return f"{conf.OAUTH_ISSUER.name} needs {' and '.join(missing)}"
    try:
        import jwt  # noqa: F401, PLC0415 (an extra)
    except ImportError:
        return f"{conf.OAUTH_ISSUER.name} needs PyJWT: install django-sendgrid-pipeline[oauth]"
    return ""


def check_token(authorization: str, clients: Sequence[str], webhook: str, max_age: int | None) -> None:
    """Raise TokenRefused or IssuerAway for a header without a token for this webhook.

    `clients` are the usable entries of `WEBHOOK_OAUTH_CLIENTS`. `max_age` limits tokens of our own, in
    seconds. Raises ImproperlyConfigured for an incomplete issuer.
    """
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise TokenRefused(INVALID_TOKEN, "the post has no token")
    if own := own_tokens.read_token(token, clients, max_age):
        if own.expired:
            raise TokenRefused(INVALID_TOKEN, "the token has expired")
        if webhook not in own.scopes:
            raise TokenRefused(INSUFFICIENT_SCOPE, f"the token is not for {webhook}")
    elif conf.OAUTH_ISSUER.get():
        _check_outside_token(token)
    else:
        raise TokenRefused(INVALID_TOKEN, f"the token is of no client in {conf.OAUTH_CLIENTS.name}")


def _check_outside_token(token: str) -> None:
    if fault := fault_of_issuer():
        raise ImproperlyConfigured(fault)
    from events_app.views import outside_tokens  # noqa: PLC0415 (it needs an extra)

    scopes = outside_tokens.scopes_of(
        token,
        issuer=conf.OAUTH_ISSUER.get(),
        audience=conf.OAUTH_AUDIENCE.get(),
        key_set_url=conf.OAUTH_JWKS_URL.get(),
    )
    if not scopes.issuperset(conf.OAUTH_SCOPES.get()):
        raise TokenRefused(INSUFFICIENT_SCOPE, f"the token lacks a scope of {conf.OAUTH_SCOPES.name}")
