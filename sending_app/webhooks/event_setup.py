"""The set-up of an Event Webhook: created, signed, and enabled when this server has its key."""

from dataclasses import dataclass, replace

from django.core.management.base import CommandError

from sending_app.webhooks import event_webhooks, keys, oauth, passwords, urls
from sending_app.webhooks.calls import CallFailed, Calls
from sending_app.webhooks.event_webhooks import EventWebhook, EventWebhooks
from sending_app.webhooks.oauth import OAuth

WEBHOOK = "tracking"


@dataclass(frozen=True)
class Wanted:
    """The settings that an operator asks for. None: unchanged, or the default of a new webhook."""

    #: Without a password.
    url: str | None = None
    events: frozenset[str] | None = None
    name: str | None = None
    basic_auth: bool = False
    oauth: OAuth | None = None
    #: Seconds to wait for the events of a test.
    wait: float = 120

    def applied_to(self, webhook: EventWebhook) -> EventWebhook:
        url = urls.moved(webhook.url, self.url or webhook.url)
        url = passwords.chosen(url, WEBHOOK, basic_auth=self.basic_auth, uses_oauth=bool(self.oauth))
        credentials = oauth.OFF if self.basic_auth else self.oauth
        return replace(
            webhook,
            url=url,
            name=webhook.name if self.name is None else self.name,
            events=webhook.events if self.events is None else self.events,
            oauth_client_id=credentials.client_id if credentials else webhook.oauth_client_id,
            oauth_token_url=credentials.token_url if credentials else webhook.oauth_token_url,
        )


def set_up(calls: Calls, wanted: Wanted) -> None:
    """Do the next steps of the set-up, up to the one of the operator. Raises CommandError."""
    url = urls.checked(wanted.url or "", WEBHOOK)
    if not urls.is_ours(url, WEBHOOK):
        calls.say(
            "WARNING: the host is not in ALLOWED_HOSTS. If web sees it in the Host header, posts get 400."
        )
    webhooks = event_webhooks.read_webhooks(calls)
    group = webhooks.at(url)
    if len(group) > 1:
        raise CommandError("Several webhooks post to this URL: a change of the key is under way. Run rotate.")
    if group:
        webhook = _with_changes(calls, group[0], wanted)
    else:
        new = wanted.applied_to(EventWebhook(id="", url=url, name="django-sendgrid-pipeline"))
        passwords.check_credentials(WEBHOOK, new.url, uses_oauth=bool(new.oauth_client_id))
        webhook = create(calls, webhooks, new, wanted.oauth)
    if webhook.enabled and not webhook.public_key:
        calls.say("It is enabled, and its posts are not signed. The action sign changes that.")
        return
    if not webhook.public_key:
        webhook = event_webhooks.sign_webhook(calls, webhook)
    if not has_key_here(calls, webhook):
        calls.say("Then run the same command again: it enables the webhook, and tests it.")
        return
    if webhook.enabled:
        calls.say("The webhook is set up, signed and enabled, and this server has its key. Try it with test.")
        return
    webhook = event_webhooks.enable(calls, webhook)
    test(calls, webhook, wanted)


def test(calls: Calls, webhook: EventWebhook, wanted: Wanted) -> None:
    """Test the webhook, if SendGrid can. Raises CommandError if the events are not stored."""
    if event_webhooks.can_test(webhook):
        event_webhooks.run_test(calls, webhook, wanted.oauth, wanted.wait)
    else:
        calls.say(
            "SendGrid's test does not work with a password in the URL. Send yourself a mail, and look for "
            "its events: manage.py events list."
        )


def update(calls: Calls, webhook: EventWebhook, wanted: Wanted) -> None:
    if wanted.url:
        urls.checked(wanted.url, WEBHOOK)
    if _with_changes(calls, webhook, wanted) == webhook and not wanted.oauth:
        calls.say("SendGrid has these settings already.")


def sign(calls: Calls, webhook: EventWebhook) -> None:
    """Turn on the signature of a webhook, and say which key to set."""
    here = keys.here(WEBHOOK, webhook.url)
    if webhook.public_key:
        if has_key_here(calls, webhook):
            calls.say("Its posts are signed, and this server has its key.")
        return
    if webhook.enabled and here:
        calls.say(
            "WARNING: this server has another key, so it refuses the unsigned posts of this webhook. It will "
            "refuse the signed ones until it has the new key. SendGrid posts refused events again for 24 "
            "hours: set the key soon."
        )
    elif webhook.enabled:
        calls.say(
            "Without any key here, the signed posts are accepted like the unsigned ones until you set it."
        )
    has_key_here(calls, event_webhooks.sign_webhook(calls, webhook))


def unsign(calls: Calls, webhook: EventWebhook) -> None:
    """Turn off the signature. Raises CommandError while this server would refuse the unsigned posts."""
    if not webhook.public_key:
        calls.say("Its posts are not signed.")
        return
    if keys.here(WEBHOOK, webhook.url):
        raise CommandError(
            f"This server has {keys.name(WEBHOOK)}: it would refuse unsigned posts with 403. First remove "
            "the key here, and restart web: then only WEBHOOK_SECRET or OAuth protects it. To change "
            "the key, run rotate."
        )
    calls.say("WARNING: this deletes the key pair. Posts still on their way may be unsigned from now on.")
    event_webhooks.unsign_webhook(calls, webhook)


def create(
    calls: Calls, webhooks: EventWebhooks, webhook: EventWebhook, credentials: OAuth | None
) -> EventWebhook:
    """Create the webhook, not enabled. Raises CommandError if the plan allows no further one."""
    if webhooks.is_full:
        raise CommandError(full(webhooks))
    try:
        return event_webhooks.create_webhook(
            calls, replace(webhook, enabled=False, public_key=""), credentials
        )
    except CallFailed as failed:
        if failed.is_at_maximum:
            raise CommandError(f"{failed}\n{full(webhooks)}") from None
        raise


def full(webhooks: EventWebhooks) -> str:
    """A text: the plan allows no further webhook, and the account has these."""
    limit = "" if webhooks.max_allowed is None else f" ({webhooks.max_allowed})"
    lines = (
        f"    {hook.id}  {hook.shown_url}  {'enabled' if hook.enabled else 'disabled'}"
        for hook in webhooks.webhooks
    )
    return "\n".join([f"The plan of the account allows no further webhook{limit}. There are:", *lines])


def has_key_here(calls: Calls, webhook: EventWebhook) -> bool:
    """Whether this server's settings have the webhook's key. Otherwise say how to set it."""
    here = keys.here(WEBHOOK, webhook.url)
    if webhook.public_key in here:
        return True
    if not webhook.public_key:  # a dry run
        calls.say(f"Then it shows the public key, which you add to {keys.name(WEBHOOK)} here.")
    else:
        calls.say(keys.instructions(WEBHOOK, keys.together(here, [webhook.public_key])))
    return False


def _with_changes(calls: Calls, webhook: EventWebhook, wanted: Wanted) -> EventWebhook:
    changed = wanted.applied_to(webhook)
    passwords.check_credentials(WEBHOOK, changed.url, uses_oauth=bool(changed.oauth_client_id))
    if changed == webhook and not wanted.oauth:  # SendGrid does not tell which secret it has
        return webhook
    credentials = wanted.oauth
    if webhook.oauth_client_id and not changed.oauth_client_id:
        credentials = oauth.OFF
    meaning = f"change the settings of webhook {webhook.id} ({changed.shown_url})"
    return event_webhooks.change_webhook(calls, changed, meaning, credentials)
