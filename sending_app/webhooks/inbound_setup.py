"""The set-up of Inbound Parse for a host name, and the change of its key.

A 3xx or 4xx loses a mail, so no step may make this server refuse mails. Without any key here the webhook
checks no signature: then posts may be signed before this server has the key. With a key of another policy
here, this server gets the new key first.

SendGrid has several policies of one name. Ours have the name "HOST, key NUMBER", so that a run that broke off
after it had made a policy finds the policy again.
"""

import re
from dataclasses import dataclass, replace

from django.core.management.base import CommandError

from sending_app.webhooks import keys, oauth, parse_settings, passwords, urls
from sending_app.webhooks.calls import Calls
from sending_app.webhooks.oauth import OAuth
from sending_app.webhooks.parse_settings import ParseSetting, Policy

WEBHOOK = "inbound"


@dataclass(frozen=True)
class WantedInbound:
    hostname: str
    #: None: as it is.
    url: str | None = None
    spam_check: bool | None = None
    basic_auth: bool = False
    oauth: OAuth | None = None

    def applied_to(self, setting: ParseSetting) -> ParseSetting:
        url = urls.moved(setting.url, self.url or setting.url)
        url = passwords.chosen(url, WEBHOOK, basic_auth=self.basic_auth, uses_oauth=bool(self.oauth))
        spam_check = setting.spam_check if self.spam_check is None else self.spam_check
        return replace(setting, url=url, spam_check=spam_check)


def set_up_host(calls: Calls, wanted: WantedInbound) -> None:
    """Do the next steps of the set-up, up to the one of the operator. Raises CommandError."""
    url = urls.checked(wanted.url or "", WEBHOOK)
    found, policies, _ = _read(calls, wanted.hostname)
    setting = wanted.applied_to(found or ParseSetting(wanted.hostname, url))
    attached = _attached(setting, policies)
    policy = attached if attached and attached.public_key else None
    policy = policy or next(iter(_own(policies, wanted.hostname).values()), None)
    uses_oauth = bool(wanted.oauth or any(known and known.oauth_client_id for known in (attached, policy)))
    passwords.check_credentials(WEBHOOK, setting.url, uses_oauth=uses_oauth)
    if policy is None:
        # A policy that gives tokens and does not sign stays attached until the new one takes its place.
        credentials = wanted.oauth or _credentials(attached)
        policy = parse_settings.create_policy(calls, _name(wanted.hostname, 1), credentials)
    elif not policy.public_key:
        raise CommandError(
            f"The security policy {policy.name!r} ({policy.id}) does not sign. Give it another name: then "
            "this command makes one that signs."
        )
    elif wanted.oauth:  # SendGrid does not tell which secret it has
        policy = parse_settings.change_oauth(calls, policy, wanted.oauth)
    here = keys.here(WEBHOOK, setting.url)
    is_here = bool(policy.public_key) and policy.public_key in here
    if setting.policy == policy.id:
        if setting != found:
            parse_settings.change_setting(calls, setting, f"change the settings of {setting.hostname}")
    elif is_here or (found and not here):
        if not found:
            parse_settings.create_setting(calls, setting)
        # In the same call as a change of the URL: a post with neither a password, a token nor a signature
        # is refused with 403, and SendGrid drops its mail.
        parse_settings.attach(calls, setting, policy)
        setting = replace(setting, policy=policy.id)
    if is_here:
        calls.say(f"The posts for {setting.hostname} are signed, and this server has their key.")
        return
    _say_key(calls, [policy], setting)
    if setting.policy != policy.id:
        calls.say("Then run the same command again: it connects the host name.")


def rotate_policy(calls: Calls, hostname: str) -> None:
    """Do the next steps of a change of the key, up to the one of the operator. Raises CommandError."""
    setting, policies, attached = _read(calls, hostname)
    first = _attached(setting, policies) if setting else None
    if not setting or not first or not first.public_key:
        raise CommandError(f"The posts for {hostname} are not signed: there is no key to change. Run setup.")
    here = keys.here(WEBHOOK, setting.url)
    own = _own(policies, hostname)
    number = _number(own, first)
    second = own.get(number + 1)
    earlier = [
        policy
        for policy in policies
        if policy.id not in attached
        and policy != second
        and (policy.public_key in here or policy in _earlier(own, number))
    ]
    if earlier:
        calls.say(_wait_for_retries(hostname))
        return
    if second is None:
        second = parse_settings.create_policy(calls, _name(hostname, number + 1), _credentials(first))
    if not second.public_key or second.public_key not in here or first.public_key not in here:
        _say_key(calls, [first, second], setting)
        calls.say("Then run the same command again: it lets posts be signed by the second key.")
        return
    parse_settings.attach(calls, setting, second)
    calls.say(_wait_for_retries(hostname))


def finish_rotation(calls: Calls, hostname: str) -> None:
    """Delete the earlier policies of the host name, and say which keys to remove. Raises CommandError."""
    setting, policies, attached = _read(calls, hostname)
    current = _attached(setting, policies) if setting else None
    if not setting or not current:
        raise CommandError(f"The posts for {hostname} are not signed: there is nothing to finish.")
    own = _own(policies, hostname)
    number = _number(own, current)
    if number + 1 in own:
        raise CommandError("The change of the key has not come so far. Run rotate without --finish.")
    for policy in _earlier(own, number):
        if policy.id not in attached:
            parse_settings.delete_policy(calls, policy)
    used = {policy.public_key for policy in policies if policy.id in attached}
    here = keys.here(WEBHOOK, setting.url)
    if any(key not in used for key in here):
        remaining = [key for key in here if key in used] or [current.public_key]
        calls.say(
            "This server has keys that sign no posts of this account. Unless another account posts here:"
        )
        calls.say(keys.instructions(WEBHOOK, remaining))
    else:
        calls.say("The change of the key is finished.")


def _read(calls: Calls, hostname: str) -> tuple[ParseSetting | None, list[Policy], set[str]]:
    """The host name's setting, all policies, and the ids of those that host names use."""
    settings = parse_settings.read_settings(calls)
    setting = next((item for item in settings if item.hostname.lower() == hostname.lower()), None)
    return setting, parse_settings.read_policies(calls), {item.policy for item in settings}


def _attached(setting: ParseSetting, policies: list[Policy]) -> Policy | None:
    return next((policy for policy in policies if policy.id == setting.policy), None)


def _credentials(policy: Policy | None) -> OAuth | None:
    """The credentials of a policy with OAuth. Raises CommandError."""
    if not (policy and policy.oauth_client_id):
        return None
    return oauth.credentials(policy.oauth_token_url, policy.oauth_client_id)


def _name(hostname: str, number: int) -> str:
    return f"{hostname}, key {number}"


def _own(policies: list[Policy], hostname: str) -> dict[int, Policy]:
    """The policies of the host name that this command has made, by number."""
    pattern = re.compile(rf"{re.escape(hostname)}, key ([1-9][0-9]{{0,5}})", re.IGNORECASE)
    numbered = {int(match[1]): policy for policy in policies if (match := pattern.fullmatch(policy.name))}
    return dict(sorted(numbered.items()))


def _number(own: dict[int, Policy], policy: Policy) -> int:
    """The number of a policy; 1 for a policy that this command has not made."""
    return next((number for number, other in own.items() if other.id == policy.id), 1)


def _earlier(own: dict[int, Policy], number: int) -> list[Policy]:
    return [policy for other, policy in own.items() if other < number]


def _say_key(calls: Calls, policies: list[Policy], setting: ParseSetting) -> None:
    known = [policy.public_key for policy in policies]
    if all(known):
        calls.say(keys.instructions(WEBHOOK, keys.together(keys.here(WEBHOOK, setting.url), known)))
    else:  # a dry run
        calls.say(f"Then it shows the public key, which you add to {keys.name(WEBHOOK)} here.")


def _wait_for_retries(hostname: str) -> str:
    return (
        f"The posts for {hostname} are signed by the second key. Keep both keys here for 72 hours: SendGrid "
        "retries posts for this time. After that, rotate --finish deletes the first policy and names the key "
        "to remove here."
    )
