"""The verification keys in this server's settings, and the line of settings that an operator adds."""

from collections.abc import Iterable, Sequence

from events_app.shared.setting import registered
from sending_app.webhooks import urls

_NAMES = {
    "tracking": "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY",
    "inbound": "SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY",
}


def here(webhook: str, url: str) -> list[str]:
    """The accepted keys at a URL of ours, in SendGrid's form. Raises ImproperlyConfigured."""
    argument = urls.view_arguments(url, webhook).get(f"{webhook}_webhook_verification_key")
    return [_bare(key) for key in registered[_NAMES[webhook]].get(argument)]


def name(webhook: str) -> str:
    return _NAMES[webhook]


def instructions(webhook: str, keys: Sequence[str]) -> str:
    """The setting by which web accepts posts signed by one of the keys."""
    return (
        f"Set this for web, and restart web:\n\n    {_NAMES[webhook]}={','.join(keys)}\n\n"
        f'In a project of your own, the keys are a list: ANYMAIL["{_NAMES[webhook]}"].'
    )


def together(*groups: Iterable[str]) -> list[str]:
    """The keys of the groups, without repeats and empty texts."""
    return [key for key in dict.fromkeys(key for group in groups for key in group) if key]


def _bare(text: str) -> str:
    """A key in SendGrid's form, from PEM too. Text in another form only loses the line ends."""
    # An environment variable often holds PEM with backslash-n for each line end.
    lines = text.replace("\\n", "\n").split("\n")
    return "".join(line.strip() for line in lines if not line.startswith("-----"))
