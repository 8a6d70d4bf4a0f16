"""The post of SendGrid's "Test Your Integration": eleven events about nobody's mail.

Source: the post captured in StrongGrid's tests (Source/StrongGrid.UnitTests/WebhookParserTests.cs).
"""

import base64
import secrets
from typing import Any

from fake_sendgrid.events import Event

#: All events of all tests have it.
MESSAGE_ID = "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0"

ADDRESS = "example@test.com"

_BROWSER = {"useragent": "Mozilla/4.0 (compatible; MSIE 6.1; Windows XP)", "ip": "255.255.255.255"}
_CLICK = {**_BROWSER, "url": "http://www.sendgrid.com/"}

#: By name, in SendGrid's order. The bounce has no type.
_FIELDS: dict[str, dict[str, Any]] = {
    "processed": {},
    "deferred": {"response": "400 try again later", "attempt": "5"},
    "delivered": {"response": "250 OK"},
    "open": _BROWSER,
    "click": _CLICK,
    "bounce": {"reason": "500 unknown recipient", "status": "5.0.0"},
    "dropped": {"reason": "Bounced Address", "status": "5.0.0"},
    "spamreport": {},
    "unsubscribe": {},
    "group_unsubscribe": {**_CLICK, "asm_group_id": 10},
    "group_resubscribe": {**_CLICK, "asm_group_id": 10},
}


def events(at: int) -> list[Event]:
    """The eleven events of a test at a time (Unix seconds), with fresh ids."""
    return [
        {
            "email": ADDRESS,
            "timestamp": at,
            "smtp-id": "<14c5d75ce93.dfd.64b469@ismtpd-555>",
            "event": name,
            "category": ["cat facts"],
            "sg_event_id": base64.urlsafe_b64encode(secrets.token_bytes(16)).decode(),
            "sg_message_id": MESSAGE_ID,
            **fields,
        }
        for name, fields in _FIELDS.items()
    ]
