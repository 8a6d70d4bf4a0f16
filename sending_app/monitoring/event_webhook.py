"""The facts about the Event Webhook at SendGrid: whether it posts to this project, and with a known key."""

from collections.abc import Iterator
from http import HTTPStatus

from django.core.management.base import CommandError
from django.urls import NoReverseMatch, reverse

from events_app.shared.facts import Depth, Level, Reading, declare, source
from sending_app.account import Account
from sending_app.monitoring.sendgrid_account import distinct_accounts
from sending_app.webhooks import event_webhooks, keys, passwords, urls
from sending_app.webhooks.calls import CallFailed, Calls
from sending_app.webhooks.event_webhooks import EventWebhook

_LABELS = ("mailer",)
ENABLED = declare("event_webhooks", "Enabled Event Webhooks that post to this project", labels=_LABELS)
REFUSED = declare("event_webhooks_refused", "Event Webhooks whose posts this server refuses", labels=_LABELS)

_SET_UP = "`manage.py sendgrid_webhooks setup` sets it up; docs/sendgrid-console.md has each step."


@source(Depth.EXAMINATION, subject="SendGrid")
def read_event_webhooks() -> Iterator[Reading]:
    """The facts about the Event Webhooks of each account, if this project has a webhook for events."""
    try:
        reverse("events_app:sendgrid_tracking_webhook")
    except NoReverseMatch:
        return
    for account in distinct_accounts():
        try:
            webhooks = event_webhooks.read_webhooks(Calls(account, lambda _: None)).webhooks
        except CommandError as failed:
            status = failed.status if isinstance(failed, CallFailed) else None
            if status not in (None, HTTPStatus.UNAUTHORIZED):  # the facts about the key have these failures
                yield ENABLED.read(None, account.alias, text=_unknown(account, status))
            continue
        ours = [hook for hook in webhooks if hook.enabled and urls.is_ours(hook.url, "tracking")]
        yield _enabled(account, ours)
        yield from _refused(account, ours)


def _unknown(account: Account, status: int | None) -> str:
    what = "whether an Event Webhook posts to this project"
    if status == HTTPStatus.FORBIDDEN:
        return f"The key of the mailer {account.alias} may not ask {what}."
    return f"SendGrid does not say {what}: it answered {status}."


def _enabled(account: Account, ours: list[EventWebhook]) -> Reading:
    if ours:
        shown = " and ".join(hook.shown_url for hook in ours)
        return ENABLED.read(len(ours), account.alias, text=f"SendGrid posts events to {shown}.")
    return ENABLED.read(
        0,
        account.alias,
        level=Level.WARNING,
        text=f"No enabled Event Webhook of the mailer {account.alias} posts to this project, by the hosts of "
        "ALLOWED_HOSTS: no events come.",
        advice=_SET_UP,
    )


def _refused(account: Account, ours: list[EventWebhook]) -> Iterator[Reading]:
    refused = [(hook, reason) for hook in ours if (reason := _reason(hook))]
    if not refused:
        yield REFUSED.read(0, account.alias)
        return
    hook, (why, advice) = refused[0]
    yield REFUSED.read(
        len(refused),
        account.alias,
        level=Level.ERROR,
        text=f"This server refuses the events of {hook.shown_url}: {why}.",
        advice=advice,
    )


def _reason(hook: EventWebhook) -> tuple[str, str] | None:
    """The reason for which this server refuses posts of the webhook, and the advice; or None."""
    here, name = keys.here("tracking", hook.url), keys.name("tracking")
    if here and not hook.public_key:
        return (
            f"SendGrid posts them with no signature, against {name}",
            f"`manage.py sendgrid_webhooks sign --id {hook.id}` turns the signature on, and shows the key.",
        )
    if here and hook.public_key not in here:
        return (
            f"SendGrid posts them with a key that is not in {name}",
            "Copy the verification key of this webhook from SendGrid, set it, and restart web: "
            "`manage.py sendgrid_webhooks list` compares them.",
        )
    try:
        passwords.check_credentials("tracking", hook.url, uses_oauth=bool(hook.oauth_client_id))
    except CommandError:
        return (
            "SendGrid posts them without a password of WEBHOOK_SECRET or a token of OAuth",
            f"`manage.py sendgrid_webhooks update --id {hook.id}` gives SendGrid the password with "
            "--basic-auth, or the client with --oauth.",
        )
    return None
