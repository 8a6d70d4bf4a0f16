"""The scopes that an API key needs for these calls.

Source: Twilio's page "API Key Permissions List", and twilio/sendgrid-oai, tsg_scopes_v3. The names of the
scopes for security policies are not documented; the pages on security ask for a key with full access.
"""

from collections.abc import Set

_VERBS = {"GET": "read", "POST": "create", "PATCH": "update", "DELETE": "delete"}

_PREFIXES = {
    "user/webhooks/event/settings": "user.webhooks.event.settings",
    "user/webhooks/event/test": "user.webhooks.event.test",
    "user/webhooks/parse/settings": "user.webhooks.parse.settings",
}

#: For every action of the command.
ALL = (
    *(f"user.webhooks.event.settings.{verb}" for verb in _VERBS.values()),
    "user.webhooks.event.test.create",
    *(f"user.webhooks.parse.settings.{verb}" for verb in _VERBS.values()),
)


def needed(method: str, path: str) -> str | None:
    """The scope for a call; None if it is not documented."""
    scope = next((scope for prefix, scope in _PREFIXES.items() if path.startswith(prefix)), None)
    return f"{scope}.{_VERBS[method]}" if scope else None


def remedy(scope: str | None, granted: Set[str] | None) -> str:
    """Advice about a key without the scope for a call. `granted` are the key's scopes; None if unknown."""
    if granted is not None:
        missing = [name for name in ALL if name not in granted]
        if missing:
            return f"The API key lacks scopes. This command needs: {', '.join(missing)}."
        return (
            "The API key has the documented scopes. Use one with full access: SendGrid asks for it for the "
            "security of webhooks."
        )
    if scope:
        return f"The API key lacks the scope {scope}."
    return "SendGrid documents no scope for this call. Use an API key with full access."
