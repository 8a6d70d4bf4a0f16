"""An account at SendGrid: API key, URL and timeout.

Rows store the name of an account or the alias of a mailer, and never a key. A worker reads the key from the
settings.
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
from sending_app.conf import DEFAULT_ALIAS, OPTIONS, Timeout
from sending_app.exceptions import ConfigurationError

#: The key where none is needed: nothing is posted.
NO_KEY = "none"


@dataclass(frozen=True)
class Account:
    #: The name in `SENDGRID_ACCOUNTS`, or the alias of the mailer.
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
    """The account with this name, or of the mailer with this alias.

    Raises ConfigurationError (an ImproperlyConfigured) for missing settings, and for a name that an account
    shares with a mailer of another account.
    """
    mailers: Mapping[str, Any] = getattr(settings, "MAILERS", {DEFAULT_ALIAS: {}})
    options = present(mailers.get(alias, {}).get("OPTIONS", {}))
    if alias in conf.ACCOUNTS.get():
        if alias in mailers and options.get("account") != alias:
            raise ConfigurationError(
                f"{alias!r} is a mailer in MAILERS and an account in {conf.ACCOUNTS.places()[0]}. "
                f"Rename one, or give the mailer the option 'account': {alias!r}."
            )
        options = {"account": alias}
    elif alias not in mailers:
        missing = "There is no mailer {!r}{}, and no account of this name in {}."
        where = " in MAILERS" if has_mailers() else ": there is no MAILERS setting"
        raise ConfigurationError(missing.format(alias, where, conf.ACCOUNTS.places()[0]))
    return with_options(alias, completed(options))


def usable() -> list[Account]:
    """All accounts with complete settings."""
    try:
        aliases = {**getattr(settings, "MAILERS", {DEFAULT_ALIAS: {}}), **conf.ACCOUNTS.get()}
    except ImproperlyConfigured:
        return []  # the mails wait, and the system checks report the setting
    accounts = []
    for alias in aliases:
        try:
            accounts.append(named(alias))
        except ImproperlyConfigured:
            continue  # the mails wait, and the system checks report the mailer or the account
    return accounts


def completed(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options of a mailer, and those of the account that the option `account` names.

    An option of the mailer overrides that of the account. Raises ConfigurationError if there is no such
    account, or if the account has no key or an unknown option.
    """
    if "account" not in options:
        return options
    name, accounts = options["account"], conf.ACCOUNTS.get()
    place = conf.ACCOUNTS.places()[0]
    if not isinstance(name, str) or name not in accounts:
        names = ", ".join(map(repr, accounts)) or "none"
        raise ConfigurationError(f"There is no account {name!r} in {place}. Its accounts: {names}.")
    if unknown := sorted(accounts[name].keys() - set(OPTIONS), key=str):
        raise ConfigurationError(
            f"{place}[{name!r}] has the unknown option {unknown[0]!r}. Options: {', '.join(OPTIONS)}."
        )
    of_account = present(accounts[name])
    key = of_account.get("api_key") or (NO_KEY if is_eager() else None)
    # Without this, an empty environment variable would send the account's mail with SENDGRID_API_KEY.
    if key is None:
        raise ConfigurationError(
            f"The account {name!r} has no API key. Set {place}[{name!r}]['api_key'] to one with the "
            '"Mail Send" permission.'
        )
    return {**of_account, "api_key": key, **options}


def present(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with a value. None means no value."""
    return {name: option for name, option in options.items() if option is not None}


def with_options(alias: str, options: Mapping[str, Any]) -> Account:
    """The account of a mailer with these options, those of a named account included."""
    owner = owner_of(alias, options)
    key = conf.API_KEY.get(options.get("api_key"), owner)
    if key is None and is_eager():
        key = NO_KEY  # settings of tests often have none
    if key is None:
        places = [f"MAILERS[{alias!r}]['OPTIONS']['api_key']"] if has_mailers() else []
        raise ConfigurationError(
            f"{owner} has no API key. Set {', or '.join(places + conf.API_KEY.places())} "
            'to one with the "Mail Send" permission.'
        )
    return Account(
        alias,
        api_key=key,
        api_url=conf.API_URL.get(options.get("api_url"), owner),
        timeout=conf.REQUESTS_TIMEOUT.get(options.get("timeout"), owner),
    )


def owner_of(alias: str, options: Mapping[str, Any]) -> str:
    """Whose options these are, for messages to users."""
    return f"The account {options['account']!r}" if "account" in options else f"The mailer {alias!r}"


def has_mailers() -> bool:
    """Whether the project has the `MAILERS` of Django 6.1."""
    return hasattr(settings, "MAILERS")
