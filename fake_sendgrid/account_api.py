"""SendGrid's API about an account, for reading: scopes of a key, senders, domains, and credits.

Sources: the published specifications in twilio/sendgrid-oai (tsg_scopes_v3, tsg_verified_senders_v3,
tsg_domain_authentication_v3, tsg_user_v3).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from fake_sendgrid import responses
from fake_sendgrid.http_server import Request
from fake_sendgrid.responses import ApiResponse
from fake_sendgrid.rules.fault import Fault
from fake_sendgrid.suppression_lists import LISTS

#: The answer to a key without the scope.
FORBIDDEN = Fault("access forbidden", None)


@dataclass
class AccountApi:
    """The account. Every attribute may change at any time."""

    #: The scopes of every key. An answer needs the scope of its path, but for the scopes themselves.
    scopes: Sequence[str] = (
        "mail.send",
        *(f"asm.groups.{verb}" for verb in ("read", "create")),
        *(f"asm.groups.suppressions.{verb}" for verb in ("read", "create", "delete")),
        *(f"asm.suppressions.global.{verb}" for verb in ("read", "create", "delete")),
        *(f"suppression.{name}.{verb}" for name in LISTS for verb in ("read", "delete")),
        "user.credits.read",
        "user.webhooks.event.settings.read",
        "verified_senders.read",
        "whitelabel.read",
    )
    #: Authenticated domains, and whether their DNS records are valid. None: every domain, for fake_sendgrid
    #: accepts mail of any sender.
    domains: Mapping[str, bool] | None = None
    #: Addresses of single senders, and whether their owner has verified them.
    senders: Mapping[str, bool] = field(default_factory=dict)
    #: Mails that the plan still allows, and in all.
    credits_left: int = 100_000
    credits_in_all: int = 100_000

    def respond(self, request: Request) -> ApiResponse | None:
        """The response; None for a path that is not about the account."""
        url = urlsplit(request.path)
        answer: object
        path, query = url.path.removeprefix("/v3/"), parse_qs(url.query)
        match path:
            case "scopes":
                needed, answer = "", {"scopes": list(self.scopes)}
            case "whitelabel/domains":
                needed, answer = "whitelabel.read", self._domains(query.get("domain", [""])[0])
            case "verified_senders":
                needed, answer = "verified_senders.read", self._senders()
            case "user/credits":
                needed, answer = "user.credits.read", self._credits()
            case _:
                return None
        if request.method != "GET":
            return responses.error(405)
        if needed and needed not in self.scopes:
            return responses.error(403, FORBIDDEN)
        return responses.json_response(200, answer)

    def forbids(self, request: Request) -> ApiResponse | None:
        """The refusal of a question about Event Webhooks that the key may not ask; None if it may."""
        asks = request.method == "GET" and request.path.startswith("/v3/user/webhooks/event/settings")
        if asks and "user.webhooks.event.settings.read" not in self.scopes:
            return responses.error(403, FORBIDDEN)
        return None

    def _domains(self, wanted: str) -> list[dict[str, object]]:
        domains = {wanted: True} if self.domains is None else self.domains
        return [
            {"id": number, "domain": domain, "subdomain": "em", "valid": valid, "default": number == 1}
            for number, (domain, valid) in enumerate(domains.items(), 1)
            if wanted in domain
        ]

    def _senders(self) -> dict[str, object]:
        return {
            "results": [
                {"id": number, "from_email": address, "verified": verified, "locked": False}
                for number, (address, verified) in enumerate(self.senders.items(), 1)
            ]
        }

    def _credits(self) -> dict[str, object]:
        used = self.credits_in_all - self.credits_left
        return {
            "remain": self.credits_left,
            "total": self.credits_in_all,
            "overage": 0,
            "used": used,
            "last_reset": "2026-11-01",
            "next_reset": "2026-12-01",
            "reset_frequency": "monthly",
        }
