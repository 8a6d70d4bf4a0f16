"""The host names of Inbound Parse and their security policies: each function makes one call.

Sources: the published specification of the Webhooks API (twilio/sendgrid-oai, tsg_webhooks_v3), and Twilio's
page "Securing your Inbound Parse Webhooks". Answers may differ: fields may be missing or null.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from django.core.management.base import CommandError

from sending_app.webhooks import urls
from sending_app.webhooks.calls import Calls
from sending_app.webhooks.oauth import OAuth

_SETTINGS = "user/webhooks/parse/settings"
_POLICIES = "user/webhooks/security/policies"


@dataclass(frozen=True)
class ParseSetting:
    hostname: str
    url: str = field(repr=False)  # may have a password
    #: Whether SendGrid checks mails for spam.
    spam_check: bool = False
    #: Whether posts have the mail's source, not SendGrid's reading of it.
    send_raw: bool = True
    #: The id of its security policy; empty without.
    policy: str = ""

    @property
    def shown_url(self) -> str:
        return urls.masked(self.url)


@dataclass(frozen=True)
class Policy:
    #: In a dry run, a policy that would be created has the id "{id}".
    id: str
    name: str
    #: Empty: posts are not signed.
    public_key: str = ""
    oauth_client_id: str = ""
    oauth_token_url: str = ""


def read_settings(calls: Calls) -> list[ParseSetting]:
    return [
        ParseSetting(
            hostname=str(item["hostname"]),
            url=str(item["url"]),
            spam_check=item.get("spam_check") is True,
            send_raw=item.get("send_raw") is True,
            policy=str(item.get("security_policy") or ""),
        )
        for item in _listed(calls.read(_SETTINGS), "result")
        if item.get("hostname") and item.get("url")
    ]


def create_setting(calls: Calls, setting: ParseSetting) -> None:
    body = {"hostname": setting.hostname, **_body(setting)}
    calls.write(
        "POST", _SETTINGS, body, f"let the mail to {setting.hostname} be posted to {setting.shown_url}"
    )


def change_setting(calls: Calls, setting: ParseSetting, meaning: str) -> None:
    """Send the complete object: the API does not say what becomes of a field that is left out."""
    policy = {"security_policy": setting.policy} if setting.policy else {}
    calls.write("PATCH", f"{_SETTINGS}/{quote(setting.hostname)}", {**_body(setting), **policy}, meaning)


def attach(calls: Calls, setting: ParseSetting, policy: Policy) -> None:
    changed = replace(setting, policy=policy.id)
    change_setting(calls, changed, f"let the posts for {setting.hostname} be signed by {_called(policy)}")


def read_policies(calls: Calls) -> list[Policy]:
    return [_parsed(item) for item in _listed(calls.read(_POLICIES), "policies") if item.get("id")]


def create_policy(calls: Calls, name: str, oauth: OAuth | None) -> Policy:
    """Create a policy that signs."""
    fields: dict[str, Any] = {"oauth": oauth.of_policy()} if oauth else {}
    body = {"name": name, "signature": {"enabled": True}, **fields}
    simulated = {"policy": {"id": "{id}", "name": name}}
    answer = calls.write("POST", _POLICIES, body, f"create the security policy {name!r}", simulated)
    item = answer.get("policy") if isinstance(answer, Mapping) else None
    if not isinstance(item, Mapping) or not item.get("id"):
        raise CommandError("SendGrid answered without the id of the new policy. Run the same command again.")
    return _parsed(item)


def change_oauth(calls: Calls, policy: Policy, oauth: OAuth) -> Policy:
    body = {"name": policy.name, "signature": {"enabled": True}, "oauth": oauth.of_policy()}
    calls.write("PATCH", f"{_POLICIES}/{policy.id}", body, f"give OAuth to {_called(policy)}")
    if not calls.apply:
        return policy
    # The answer has no signature (specification).
    return next((found for found in read_policies(calls) if found.id == policy.id), policy)


def delete_policy(calls: Calls, policy: Policy) -> None:
    # Without `force`, SendGrid keeps a policy that a host name uses.
    calls.write("DELETE", f"{_POLICIES}/{policy.id}", None, f"delete {_called(policy)}")


def _called(policy: Policy) -> str:
    return f"the security policy {policy.name!r} ({policy.id})"


def _body(setting: ParseSetting) -> dict[str, Any]:
    return {"url": setting.url, "spam_check": setting.spam_check, "send_raw": setting.send_raw}


def _parsed(item: Mapping[str, Any]) -> Policy:
    signature, oauth = item.get("signature"), item.get("oauth")
    return Policy(
        id=str(item["id"]),
        name=str(item.get("name") or ""),
        public_key=str(signature.get("public_key") or "") if isinstance(signature, Mapping) else "",
        oauth_client_id=str(oauth.get("client_id") or "") if isinstance(oauth, Mapping) else "",
        oauth_token_url=str(oauth.get("token_url") or "") if isinstance(oauth, Mapping) else "",
    )


def _listed(answer: object, name: str) -> list[Mapping[str, Any]]:
    items = answer.get(name) if isinstance(answer, Mapping) else None
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
