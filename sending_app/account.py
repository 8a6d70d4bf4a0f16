"""An account at SendGrid: API key, URL and timeout.

Rows store a mailer's alias and never a key. A worker reads the key from the settings.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

from events_app.shared.eager import is_eager
from sending_app import conf
from sending_app.conf import Timeout
from sending_app.exceptions import ConfigurationError

#: The only alias without `MAILERS`.
DEFAULT_ALIAS = "default"

#: The key where none is needed: nothing is posted.
NO_KEY = "none"


@dataclass(frozen=True)
class Account:
    #: Of the mailer.
    alias: str
    api_key: str = field(repr=False)
    #: Ends with a slash.
    api_url: str
    timeout: Timeout

    @cached_property
    def fingerprint(self) -> str:
        """A hash of URL and key that does not reveal the key."""
        # Aliases with the same key share a circuit breaker. A new key starts with a closed circuit.
        return salted_hmac(
            "sending_app.account", f"{self.api_url} {self.api_key}", algorithm="sha256"
        ).hexdigest()[:32]


def named(alias: str) -> Account:
    """The account of a mailer. Raises ConfigurationError (an ImproperlyConfigured) for missing settings."""
    if has_mailers():
        mailers: Mapping[str, Any] = settings.MAILERS
        if alias not in mailers:
            raise ConfigurationError(f"There is no mailer {alias!r} in MAILERS.")
        return with_options(alias, mailers[alias].get("OPTIONS", {}))
    if alias != DEFAULT_ALIAS:
        raise ConfigurationError(f"There is no mailer {alias!r}: there is no MAILERS setting.")
    return with_options(alias, {})


def usable() -> list[Account]:
    """All accounts with complete settings."""
    accounts = []
    for alias in getattr(settings, "MAILERS", {DEFAULT_ALIAS: {}}):
        try:
            accounts.append(named(alias))
        except ImproperlyConfigured:
            continue  # the mails wait, and the system checks report the mailer
    return accounts


def with_options(alias: str, options: Mapping[str, Any]) -> Account:
    """The account of a mailer with these options."""
    mailer = f"The mailer {alias!r}"
    key = conf.API_KEY.get(options.get("api_key"), mailer)
    if key is None and is_eager():
        key = NO_KEY  # settings of tests often have none
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


def has_mailers() -> bool:
    """Whether the project has the `MAILERS` of Django 6.1."""
    return hasattr(settings, "MAILERS")
