"""User and password in the URL of a webhook, and whether this server accepts posts without them."""

from urllib.parse import quote, unquote, urlsplit

from django.core.management.base import CommandError

from events_app.shared.setting import registered
from sending_app.webhooks import oauth, urls


def in_url(url: str) -> str | None:
    """ "user:password" of the URL; None without."""
    parts = urlsplit(url)
    if parts.username is None:
        return None
    return f"{unquote(parts.username)}:{unquote(parts.password or '')}"


def chosen(url: str, webhook: str, *, basic_auth: bool, uses_oauth: bool) -> str:
    """The URL with a password for basic auth, or without for OAuth: both have the same header."""
    if basic_auth:
        return put_in(url, webhook)
    return left_out(url) if uses_oauth else url


def put_in(url: str, webhook: str) -> str:
    """The URL with the newest pair of WEBHOOK_SECRET. Raises CommandError if there is none, or unusable."""
    # docs/sendgrid-console.md: over a change, the new pair comes last.
    pairs = _accepted(url, webhook)
    if not pairs:
        raise CommandError("--basic-auth needs WEBHOOK_SECRET, which is not set here.")
    user, _, password = pairs[-1].partition(":")
    try:
        userinfo = f"{quote(user, safe='')}:{quote(password, safe='')}@"
    except UnicodeEncodeError:
        userinfo = ""
    if not (user and password and userinfo):
        raise CommandError("The last pair of WEBHOOK_SECRET is not user:password in UTF-8.")
    return _with(url, userinfo)


def left_out(url: str) -> str:
    return _with(url, "")


def check_credentials(webhook: str, url: str, *, uses_oauth: bool) -> None:
    """Raises CommandError if this server would refuse posts to the URL for a missing password or token."""
    pairs, takes_tokens = _accepted(url, webhook), oauth.is_accepted_here()
    if not (pairs or takes_tokens) or in_url(url) in pairs or (uses_oauth and takes_tokens):
        return
    if pairs:
        raise CommandError(
            "WEBHOOK_SECRET is set here, so this server refuses posts without this user and password. Add "
            "--basic-auth, which puts them into the URL at SendGrid, or remove it: a signature is better."
        )
    raise CommandError("OAuth is set up here, so this server refuses posts without a token. Add --oauth.")


def _accepted(url: str, webhook: str) -> tuple[str, ...]:
    """The pairs that this server accepts at the URL. Raises ImproperlyConfigured."""
    argument = urls.view_arguments(url, webhook).get("basic_auth")
    pairs: tuple[str, ...] = registered["WEBHOOK_SECRET"].get(argument)
    return pairs


def _with(url: str, userinfo: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=userinfo + parts.netloc.rpartition("@")[2]).geturl()
