"""An account at SendGrid: the key to it, where it is, how long it is waited for.

Rows name a mailer's alias and never a key, so whoever sends looks the key up where the settings have it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

from sending_app import conf
from sending_app.conf import Timeout
from sending_app.exceptions import ConfigurationError

#: The one alias there is without `MAILERS`.
DEFAULT_ALIAS = "default"


@dataclass(frozen=True)
class Account:
    #: The mailer that sends through it.
    alias: str
    api_key: str = field(repr=False)
    #: Ends with a slash.
    api_url: str
    timeout: Timeout

    @cached_property
    def fingerprint(self) -> str:
        """The same for all who send with this key, and no way back to it."""
        # Two aliases may share a key, and a pause is the key's. A new key starts without one.
        return salted_hmac(
            "sending_app.account", f"{self.api_url} {self.api_key}", algorithm="sha256"
        ).hexdigest()[:32]


def named(alias: str) -> Account:
    """The account the mailer of this alias sends through.

    Raises ConfigurationError (an ImproperlyConfigured) where the settings do not have all it needs.
    """
    return with_options(alias, options_of(alias))


def usable() -> list[Account]:
    """The accounts that the settings have all of."""
    found = []
    for alias in getattr(settings, "MAILERS", {DEFAULT_ALIAS: {}}):
        try:
            found.append(named(alias))
        except ImproperlyConfigured:
            continue  # its mails wait; the checks tell
    return found


def with_options(alias: str, options: Mapping[str, Any]) -> Account:
    """The same, where the mailer's options are at hand."""
    mailer = f"The mailer {alias!r}"
    key = conf.API_KEY.get(options.get("api_key"), mailer)
    if key is None:
        places = [f"MAILERS[{alias!r}]['OPTIONS']['api_key']"] if has_mailers() else []
        raise ConfigurationError(
            f"{mailer} has no API key. Set {', or '.join(places + conf.API_KEY.places())} "
            'to one with the "Mail Send" permission.'
        )
    return Account(
        alias,
        api_key=key,
        api_url=conf.API_URL.get(options.get("api_url"), mailer),
        timeout=conf.REQUESTS_TIMEOUT.get(options.get("timeout"), mailer),
    )


def options_of(alias: str) -> Mapping[str, Any]:
    """What `MAILERS` has for the mailer of this alias; empty without `MAILERS`."""
    if has_mailers():
        mailers: Mapping[str, Any] = getattr(settings, "MAILERS", {})
        if alias not in mailers:
            raise ConfigurationError(f"There is no mailer {alias!r} in MAILERS.")
        options: Mapping[str, Any] = mailers[alias].get("OPTIONS", {})
        return options
    if alias != DEFAULT_ALIAS:
        raise ConfigurationError(f"There is no mailer {alias!r}: there is no MAILERS setting.")
    return {}


def has_mailers() -> bool:
    """Whether the project names its mailers, as it can on Django 6.1."""
    return hasattr(settings, "MAILERS")
