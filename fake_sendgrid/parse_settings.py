"""The host names of Inbound Parse and their security policies, as the settings API makes them.

Sources: the published specification of the Webhooks API (twilio/sendgrid-oai, tsg_webhooks_v3), and Twilio's
page "Securing your Inbound Parse Webhooks".
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fake_sendgrid.inbound_webhook import InboundDelivery, InboundWebhook
from fake_sendgrid.multipart_form import MultipartForm
from fake_sendgrid.oauth import OAuthClient
from fake_sendgrid.settings_faults import Refused, check_types, check_url, not_found
from fake_sendgrid.switchable_sender import SwitchableSender

_SWITCHES = ("spam_check", "send_raw")


@dataclass
class _Policy:
    id: str
    name: str
    sender: SwitchableSender
    oauth: dict[str, Any] = field(default_factory=dict)

    def answer(self, *, with_signature: bool = True) -> dict[str, Any]:
        shown = {name: value for name, value in self.oauth.items() if name != "client_secret"}
        key = {"signature": {"public_key": self.sender.public_key}} if self.sender.signs else {}
        return {
            "id": self.id,
            "name": self.name,
            **({"oauth": shown} if shown else {}),
            **(key if with_signature else {}),
        }


class ParseSettings:
    def __init__(self, on_post: Callable[[InboundDelivery], None] | None) -> None:
        self._on_post = on_post
        self._settings: dict[str, dict[str, Any]] = {}
        self._policies: dict[str, _Policy] = {}
        #: By host name and policy: mails on their way keep the key of their first post.
        self._queues: dict[tuple[str, str | None], InboundWebhook] = {}

    # The calls of the API: host names

    def all(self) -> dict[str, Any]:
        return {"result": list(self._settings.values())}

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        hostname = body.get("hostname")
        if not isinstance(hostname, str) or "." not in hostname:
            raise Refused(400, "hostname is required", field="hostname")
        if hostname in self._settings:
            raise Refused(400, "duplicate entry for hostname", field="hostname")
        self._settings[hostname] = {"hostname": hostname, **_checked(body)}
        return self._settings[hostname]

    def get(self, hostname: str) -> dict[str, Any]:
        if hostname not in self._settings:
            raise not_found()
        return self._settings[hostname]

    def change(self, hostname: str, body: Mapping[str, Any]) -> dict[str, Any]:
        # What becomes of a field that is left out is not documented. Here it is lost.
        self.get(hostname)
        policy = body.get("security_policy")
        if policy is not None:
            self._find(policy)
        self._settings[hostname] = {
            "hostname": hostname,
            **_checked(body),
            **({} if policy is None else {"security_policy": policy}),
        }
        return self._settings[hostname]

    def delete(self, hostname: str) -> None:
        self.get(hostname)
        del self._settings[hostname]

    # The calls of the API: security policies

    def policies(self) -> dict[str, Any]:
        return {"policies": [policy.answer() for policy in self._policies.values()]}

    def create_policy(self, body: Mapping[str, Any]) -> dict[str, Any]:
        check_types(body, str, "name")
        check_types(body, dict, "signature", "oauth")
        signs = bool(body.get("signature", {}).get("enabled"))
        if not (signs or body.get("oauth")):
            raise Refused(400, "one of signature or oauth must be given")
        sender = SwitchableSender(signs=signs)
        sender.authorize(OAuthClient.of_policy(body.get("oauth", {})))
        policy = _Policy(str(uuid.uuid4()), body.get("name", ""), sender, dict(body.get("oauth", {})))
        self._policies[policy.id] = policy
        return {"policy": policy.answer()}

    def policy(self, policy_id: str) -> dict[str, Any]:
        return {"policy": self._find(policy_id).answer()}

    def change_policy(self, policy_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        policy = self._find(policy_id)
        check_types(body, dict, "signature", "oauth")
        policy.name = body.get("name", policy.name)
        if "signature" in body:
            policy.sender.switch(on=bool(body["signature"].get("enabled")))
        policy.oauth = dict(body.get("oauth", policy.oauth))
        policy.sender.authorize(OAuthClient.of_policy(policy.oauth))
        # The specification's answer has no signature.
        return {"policy": policy.answer(with_signature=False)}

    def delete_policy(self, policy_id: str, *, force: bool) -> dict[str, Any]:
        policy = self._find(policy_id)
        used = [setting for setting in self._settings.values() if setting.get("security_policy") == policy.id]
        if used and not force:
            raise Refused(400, "the policy is in use")
        for setting in used:
            del setting["security_policy"]
        del self._policies[policy.id]
        return {}

    # What the double does with them

    def deliver(self, hostname: str, form: MultipartForm, in_reply_to: str | None) -> InboundDelivery | None:
        """Post a mail to the webhook of its host name; None if the host name is not set up."""
        setting = self._settings.get(hostname)
        if setting is None:
            return None
        policy = setting.get("security_policy")
        queue = self._queues.get((hostname, policy))
        if queue is None:
            sender = self._find(policy).sender if policy else SwitchableSender()
            queue = self._queues[hostname, policy] = InboundWebhook(sender, on_post=self._on_post)
        queue.url = setting["url"]
        return queue.deliver(form, in_reply_to)

    def remove_all(self) -> None:
        self._settings.clear()
        self._policies.clear()
        for queue in self._queues.values():
            queue.close()
        self._queues.clear()

    def _find(self, policy_id: object) -> _Policy:
        if not isinstance(policy_id, str) or policy_id not in self._policies:
            raise not_found()
        return self._policies[policy_id]


def _checked(body: Mapping[str, Any]) -> dict[str, Any]:
    check_types(body, bool, *_SWITCHES)
    return {"url": check_url(body), **{name: body.get(name, False) for name in _SWITCHES}}
