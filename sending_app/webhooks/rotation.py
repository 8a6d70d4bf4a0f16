"""A new key for an Event Webhook without a refused post, by a second webhook.

SendGrid has no call that changes a key, and takes a URL for one webhook only. So the second webhook has the
same URL with a query, and a key of its own. While this server accepts both keys, the second is enabled, then
the first disabled. The numbers in the URLs tell which webhook is the newer one.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from django.core.management.base import CommandError

from events_app.shared.console.terminal import span
from sending_app.webhooks import event_setup, event_webhooks, keys, oauth, urls
from sending_app.webhooks.calls import Calls
from sending_app.webhooks.event_setup import WEBHOOK, Wanted
from sending_app.webhooks.event_webhooks import EventWebhook, EventWebhooks

#: SendGrid posts a refused event again for 24 hours, perhaps signed by the first key.
RETRIES = timedelta(hours=24)

_GAP = (
    "With one webhook there is a gap: its signature must be turned off and on. Posts in between, and until "
    "you have set the new key here, get 403. SendGrid posts them again for 24 hours, but perhaps unsigned: "
    "then their events are lost. --accept-gap does this all the same."
)

_NOT_SIGNED = "The posts of this webhook are not signed: there is no key to change. Run sign."

_UNTESTED = (
    "Both webhooks are enabled now. SendGrid's test does not work with a password in the URL: send yourself "
    "a mail, and look that webhook_posts tracking 403 in manage.py events status does not grow. Then run the "
    "same command with --untested, which disables the first webhook."
)


def rotate(calls: Calls, webhooks: EventWebhooks, url: str, wanted: Wanted, *, untested: bool) -> None:
    """Do the next steps of a change of the key, up to the one of the operator. Raises CommandError."""
    first, second = _pair(calls, webhooks, url)
    if not second.public_key:
        second = event_webhooks.sign_webhook(calls, second)
    if not _has_keys_here(calls, first, second):
        return
    if first.enabled or not second.enabled:
        if not second.enabled:
            second = _enable(calls, first, second)
        if event_webhooks.can_test(second):
            event_webhooks.run_test(calls, second, wanted.oauth, wanted.wait)
        elif not untested:
            calls.say(_UNTESTED)
            return
        if first.enabled:
            event_webhooks.disable(calls, first)
    calls.say(
        "The second webhook posts, the first is disabled. Keep both keys here for more than 24 hours: "
        "SendGrid may retry posts of the first. After that, rotate --finish deletes the first webhook "
        f"({first.id}) and names the key to remove here."
    )


def finish(calls: Calls, webhooks: EventWebhooks, url: str) -> None:
    """Delete the first webhook, and say which key to remove. Raises CommandError before its time."""
    group = _group(webhooks, url)
    if len(group) == 1:
        if not group[0].public_key:
            raise CommandError(_NOT_SIGNED)
        calls.say("One webhook posts to this URL: the change of the key is finished.")
        _say_which_keys_remain(calls, webhooks, url)
        return
    first, second = group[0], group[-1]
    if len(group) > 2 or first.enabled or not second.enabled:
        raise CommandError("The change of the key has not come so far. Run rotate without --finish.")
    age = datetime.now(UTC) - first.updated if first.updated else None
    if age is None:
        calls.say("SendGrid gives no date of the last change. Make sure that it was more than 24 hours ago.")
    elif age < RETRIES:
        left = span(round((RETRIES - age).total_seconds()))
        raise CommandError(
            f"The first webhook was changed {span(max(round(age.total_seconds()), 0))} ago. SendGrid may "
            f"still retry its posts, signed by the first key. Finish in {left}."
        )
    event_webhooks.delete_webhook(calls, first)
    remaining = [hook for hook in webhooks.webhooks if hook.id != first.id]
    _say_which_keys_remain(calls, replace(webhooks, webhooks=remaining), second.url)


def rotate_with_gap(calls: Calls, webhooks: EventWebhooks, webhook: EventWebhook) -> None:
    """Change the key of the only webhook: the operator has accepted the gap. A second run changes nothing.

    Raises CommandError if there is a way without a gap.
    """
    if len(_group(webhooks, webhook.url)) > 1:
        raise CommandError("A second webhook is there: run rotate without --accept-gap, which has no gap.")
    if webhooks.max_allowed is not None and not webhooks.is_full:
        raise CommandError(
            "The plan allows a second webhook: run rotate without --accept-gap, which has no gap."
        )
    here = keys.here(WEBHOOK, webhook.url)
    if webhook.public_key in here and (age := _age_of_change(webhooks, webhook, here)):
        calls.say(
            f"This server has the new key since the change {age} ago. Run test. After 24 hours, remove the "
            "first key here. Until then, this command does not change the key again."
        )
        return
    if webhook.public_key in here:
        webhook = event_webhooks.unsign_webhook(calls, webhook)
    if not webhook.public_key:
        webhook = event_webhooks.sign_webhook(calls, webhook)
    event_setup.has_key_here(calls, webhook)
    calls.say(
        "Do it now: until then posts get 403. Then run test. After 24 hours, remove the first key here."
    )


def _pair(calls: Calls, webhooks: EventWebhooks, url: str) -> tuple[EventWebhook, EventWebhook]:
    """The first webhook, and the second, created if missing. Raises CommandError."""
    group = _group(webhooks, url)
    if len(group) > 2 or len({urls.number(hook.url) for hook in group}) < len(group):
        raise CommandError(f"{len(group)} webhooks post to this URL. Delete those that you do not need.")
    first = group[0]
    if not first.public_key:
        raise CommandError(_NOT_SIGNED)
    if len(group) == 2:
        return first, group[1]
    if not first.enabled:
        raise CommandError("The webhook is not enabled. Run setup first.")
    return first, _create_second(calls, webhooks, first)


def _group(webhooks: EventWebhooks, url: str) -> list[EventWebhook]:
    """The webhooks of a change of the key, oldest first. Raises CommandError for a URL that cannot be one."""
    if urls.number(url) is None:
        raise CommandError(
            f"rotate adds ?key=2 to the URL, and {urls.masked(url)} has another query. "
            "Run update --new-url first."
        )
    return webhooks.at(url)


def _create_second(calls: Calls, webhooks: EventWebhooks, first: EventWebhook) -> EventWebhook:
    if webhooks.is_full:
        raise CommandError(f"{event_setup.full(webhooks)}\nDelete one that you do not need. {_GAP}")
    url = urls.with_number(first.url, (urls.number(first.url) or 1) + 1)
    credentials = None
    if first.oauth_client_id:
        credentials = oauth.credentials(first.oauth_token_url, first.oauth_client_id)
    return event_setup.create(calls, webhooks, replace(first, id="", url=url), credentials)


def _enable(calls: Calls, first: EventWebhook, second: EventWebhook) -> EventWebhook:
    """Enable the second webhook, with the settings that the first has now: they may have been changed."""
    credentials = None
    if (first.oauth_client_id, first.oauth_token_url) != (second.oauth_client_id, second.oauth_token_url):
        credentials = oauth.OFF
        if first.oauth_client_id:
            credentials = oauth.credentials(first.oauth_token_url, first.oauth_client_id)
    url = urls.with_number(first.url, urls.number(second.url) or 1)
    same = replace(first, id=second.id, url=url, public_key=second.public_key)
    return event_webhooks.enable(calls, same, credentials)


def _age_of_change(webhooks: EventWebhooks, webhook: EventWebhook, here: list[str]) -> str:
    """How long ago the key was changed, while its predecessor is still here and of use; else empty."""
    used = {hook.public_key for hook in webhooks.webhooks}
    if all(key in used for key in here) or not webhook.updated:
        return ""
    age = datetime.now(UTC) - webhook.updated
    return span(max(round(age.total_seconds()), 0)) if age < RETRIES else ""


def _has_keys_here(calls: Calls, first: EventWebhook, second: EventWebhook) -> bool:
    """Whether this server accepts the posts of both webhooks. Otherwise say how."""
    here = keys.here(WEBHOOK, second.url)
    needed = keys.together([first.public_key], [second.public_key])
    if second.public_key and all(key in here for key in needed):
        return True
    if second.public_key:
        calls.say(keys.instructions(WEBHOOK, keys.together(here, needed)))
    else:  # a dry run
        calls.say(f"Then it shows the second public key, which you add to {keys.name(WEBHOOK)} here.")
    calls.say(
        "Then run the same command again: it enables the second webhook, tests it, and disables the first. "
        "While both are enabled, SendGrid posts each event from both: the second one is a duplicate."
    )
    return False


def _say_which_keys_remain(calls: Calls, webhooks: EventWebhooks, url: str) -> None:
    used = {hook.public_key for hook in webhooks.webhooks}
    here = keys.here(WEBHOOK, url)
    unused = [key for key in here if key not in used]
    if unused:
        calls.say(
            "No webhook of this account has these keys. Unless another account posts here, remove them:"
        )
        for key in unused:
            calls.say(f"    {key}")
        remaining = [key for key in here if key in used], [hook.public_key for hook in webhooks.at(url)]
        calls.say(keys.instructions(WEBHOOK, keys.together(*remaining)))
