"""The list of all webhooks of an account, as tables and as JSON."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from events_app.shared.console.terminal import Table
from sending_app.webhooks import event_webhooks, keys, parse_settings, urls
from sending_app.webhooks.calls import CallFailed, Calls
from sending_app.webhooks.event_webhooks import EVENTS, EventWebhooks
from sending_app.webhooks.parse_settings import ParseSetting, Policy


@dataclass(frozen=True)
class Listing:
    events: EventWebhooks | None
    settings: list[ParseSetting] | None
    #: None if the API key may not read them.
    policies: list[Policy] | None

    def as_json(self) -> dict[str, Any]:
        events = self.events
        return {
            "event_webhooks": events
            and {
                "max_allowed": events.max_allowed,
                "webhooks": [
                    {
                        "id": hook.id,
                        "name": hook.name,
                        "url": hook.shown_url,
                        "enabled": hook.enabled,
                        "ours": urls.is_ours(hook.url, "tracking"),
                        "signed": bool(hook.public_key),
                        "public_key": hook.public_key,
                        "key_is_here": hook.public_key in keys.here("tracking", hook.url),
                        "oauth": bool(hook.oauth_client_id),
                        "events": sorted(hook.events),
                    }
                    for hook in events.webhooks
                ],
            },
            "inbound_parse": self.settings
            and [
                {
                    "hostname": setting.hostname,
                    "url": setting.shown_url,
                    "ours": urls.is_ours(setting.url, "inbound"),
                    "send_raw": setting.send_raw,
                    "spam_check": setting.spam_check,
                    "policy": setting.policy,
                    "signed": bool(key := self._key(setting)),
                    "public_key": key,
                    "key_is_here": key in keys.here("inbound", setting.url),
                }
                for setting in self.settings
            ],
        }

    def lines(self, width: int | None) -> Iterator[str]:
        if self.events:
            most = "" if self.events.max_allowed is None else f" of at most {self.events.max_allowed}"
            yield f"Event Webhooks: {len(self.events.webhooks)}{most}"
            header = ("id", "name", "state", "ours", "signature", "OAuth", "events", "URL")
            rows = [
                (
                    hook.id,
                    hook.name,
                    "enabled" if hook.enabled else "disabled",
                    _yes(urls.is_ours(hook.url, "tracking")),
                    _signature(hook.public_key, "tracking", hook.url),
                    _yes(bool(hook.oauth_client_id)),
                    _events(hook.events),
                    hook.shown_url,
                )
                for hook in self.events.webhooks
            ]
            yield from Table(header, width, indent="  ").lines(rows)
        if self.settings is not None:
            yield f"\nInbound Parse: {len(self.settings)}"
            columns = ("host name", "ours", "signature", "mails", "spam check", "URL")
            cells = [
                (
                    setting.hostname,
                    _yes(urls.is_ours(setting.url, "inbound")),
                    _signature(self._key(setting), "inbound", setting.url),
                    "raw" if setting.send_raw else "parsed",
                    _yes(setting.spam_check),
                    setting.shown_url,
                )
                for setting in self.settings
            ]
            yield from Table(columns, width, indent="  ").lines(cells)

    def _key(self, setting: ParseSetting) -> str:
        found = (policy.public_key for policy in self.policies or [] if policy.id == setting.policy)
        return next(found, "")


def read_listing(calls: Calls) -> Listing:
    """Read what the API key may read, and warn of the rest."""

    def permitted(read: Any) -> Any:
        try:
            return read(calls)
        except CallFailed as failed:
            if failed.status != 403:
                raise
            calls.say(f"WARNING: {failed}")
            return None

    return Listing(
        permitted(event_webhooks.read_webhooks),
        permitted(parse_settings.read_settings),
        permitted(parse_settings.read_policies),
    )


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _signature(key: str, webhook: str, url: str) -> str:
    if not key:
        return "no"
    if not urls.is_ours(url, webhook):
        return "yes"
    return "yes, its key is here" if key in keys.here(webhook, url) else "yes, ITS KEY IS NOT HERE"


def _events(events: frozenset[str]) -> str:
    missing = [name for name in EVENTS if name not in events]
    if not missing:
        return "all"
    if len(missing) < len(EVENTS) / 2:
        return f"all but {', '.join(missing)}"
    return ", ".join(sorted(events)) or "none"
