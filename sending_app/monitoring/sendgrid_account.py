"""The facts about each account at SendGrid: its key, the sender, the credits, and the Event Webhook."""

from collections.abc import Iterator
from email.utils import parseaddr
from typing import Any

from django.conf import settings

from events_app.shared.eager import is_eager
from events_app.shared.facts import Depth, Fact, Level, Reading, declare, source
from sending_app import account as accounts
from sending_app.account import Account
from sending_app.api.queries import Reply, Unanswered, ask
from sending_app.compose.address_rules import is_local
from sending_app.conf import DEFAULT_ALIAS
from sending_app.webhooks.scopes import ALL as NEEDED

_LABELS = ("mailer",)
KEY = declare("api_key_valid", "Whether SendGrid accepts the API key of a mailer: 1 or 0", labels=_LABELS)
SCOPES = declare("api_key_may_send", "Whether the API key may send mail: 1 or 0", labels=_LABELS)
SENDER = declare("sender_verified", "Whether DEFAULT_FROM_EMAIL may send: 1 or 0", labels=_LABELS)
CREDITS = declare("credits_left", "Mails that the plan allows until its next reset", labels=_LABELS)

#: The part of the credits that is few.
FEW = 0.1

#: The scope of Mail Send.
SEND = "mail.send"


@source(Depth.EXAMINATION, subject="SendGrid")
def read_accounts() -> Iterator[Reading]:
    """The facts about every account with a key."""
    for account in distinct_accounts():
        try:
            yield from _read(account)
        except Unanswered as fault:
            yield KEY.read(
                None,
                account.alias,
                level=Level.ERROR,
                text=f"SendGrid cannot be asked about the mailer {account.alias}: {fault}.",
                advice="Look at the network and SENDGRID_API_URL, and at status.sendgrid.com. Until then "
                "mails wait in the outbox.",
            )


def distinct_accounts() -> list[Account]:
    """An account for every key: mailers may share a key. Empty in a test run, which asks no SendGrid."""
    usable = [] if is_eager() else accounts.usable()
    return [*reversed({account.fingerprint: account for account in reversed(usable)}.values())]


def _read(account: Account) -> Iterator[Reading]:
    # Source of the paths and the answers: twilio/sendgrid-oai, spec/json, tsg_scopes_v3, tsg_user_v3,
    # tsg_domain_authentication_v3 and tsg_verified_senders_v3.
    reply = ask(account, "scopes")
    if reply.status == 401:
        yield KEY.read(
            0,
            account.alias,
            level=Level.ERROR,
            text=f"SendGrid refuses the API key of the mailer {account.alias}: it is wrong or revoked.",
            advice='Make a key with the permission "Mail Send" in SendGrid\'s console (Settings, API Keys), '
            "set it for this mailer, and restart workers and web. Until then mails wait in the outbox.",
        )
        return
    if reply.status != 200:
        yield _unknown(KEY, account, "what it may do", reply)
        return
    yield KEY.read(1, account.alias, text=f"SendGrid accepts the API key of the mailer {account.alias}.")
    yield _may_send(account, reply.content)
    if not is_local(parseaddr(str(settings.DEFAULT_FROM_EMAIL))[1]):  # a check reports it
        yield _sender(account)
    yield _credits(account)


def _may_send(account: Account, content: Any) -> Reading:
    listed = content.get("scopes") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        return _unknown(SCOPES, account, "what the key may do", Reply(200, None))
    if SEND in listed:
        may_not = "" if all(name in listed for name in NEEDED) else "not "
        text = f"The key of the mailer {account.alias} may send mail, and {may_not}set up webhooks."
        return SCOPES.read(1, account.alias, text=text)
    return SCOPES.read(
        0,
        account.alias,
        level=Level.ERROR,
        text=f"The API key of the mailer {account.alias} may not send mail: it lacks the scope {SEND}.",
        advice='Give the key the permission "Mail Send" in SendGrid\'s console (Settings, API Keys).',
    )


def _sender(account: Account) -> Reading:
    sender = parseaddr(str(settings.DEFAULT_FROM_EMAIL))[1].lower()
    domain = sender.rpartition("@")[2]
    reply = ask(account, "whitelabel/domains", domain=domain)
    domains = _domains(reply)
    if domains.get(domain):
        return SENDER.read(
            1, account.alias, text=f"The domain of DEFAULT_FROM_EMAIL, {domain}, is authenticated."
        )
    singles = ask(account, "verified_senders", limit="500")
    verified = {
        str(known.get("from_email")).lower(): known.get("verified") for known in _objects(singles.content)
    }
    if verified.get(sender):
        return SENDER.read(1, account.alias, text="DEFAULT_FROM_EMAIL is a verified sender.")
    if reply.status != 200 or singles.status != 200:
        return _unknown(SENDER, account, "whether DEFAULT_FROM_EMAIL is verified", reply)
    for parent in _parents(domain):
        if _domains(ask(account, "whitelabel/domains", domain=parent)).get(parent):
            # No page of SendGrid says whether a subdomain may send.
            text = f"Not known: whether {domain}, the domain of DEFAULT_FROM_EMAIL, may send. {parent} may."
            return SENDER.read(None, account.alias, text=text)
    state = "has not yet verified" if domain in domains or sender in verified else "does not know"
    return SENDER.read(
        0,
        account.alias,
        # Mails of another account often have a sender of their own.
        level=Level.ERROR if account.alias == DEFAULT_ALIAS else Level.WARNING,
        text=f"SendGrid {state} the sender of DEFAULT_FROM_EMAIL, at {domain}, and refuses its mails by the "
        f"mailer {account.alias}.",
        advice=f"Authenticate {domain} in SendGrid's console (Settings, Sender Authentication), or set "
        "DEFAULT_FROM_EMAIL to a verified sender.",
    )


def _domains(reply: Reply) -> dict[str, Any]:
    """The domains of the reply, each with its validity."""
    return {str(known.get("domain")).lower(): known.get("valid") for known in _objects(reply.content)}


def _parents(domain: str) -> Iterator[str]:
    """The domains above, down to two labels."""
    labels = domain.split(".")
    return (".".join(labels[at:]) for at in range(1, len(labels) - 1))


def _credits(account: Account) -> Reading:
    reply = ask(account, "user/credits")
    content = reply.content if isinstance(reply.content, dict) else {}
    left, total = content.get("remain"), content.get("total")
    if not isinstance(left, int) or not isinstance(total, int) or not total:
        return _unknown(CREDITS, account, "how many mails the plan still allows", reply)
    end = content.get("next_reset")
    text = f"The plan of the mailer {account.alias} allows {left:,} more mails of {total:,}"
    text += f", until {end}." if end else "."
    if left > FEW * total:
        return CREDITS.read(left, account.alias, text=text)
    return CREDITS.read(
        left,
        account.alias,
        level=Level.WARNING if left else Level.ERROR,
        text=text,
        advice="Beyond the plan SendGrid bills each mail, or refuses it. Look at the plan in SendGrid's "
        "console (Settings, Account Details).",
    )


def _objects(content: Any) -> list[dict[str, Any]]:
    """The objects of a list, or of the list `results`."""
    listed = content.get("results") if isinstance(content, dict) else content
    return [known for known in listed if isinstance(known, dict)] if isinstance(listed, list) else []


def _unknown(fact: Fact, account: Account, what: str, reply: Reply) -> Reading:
    key = f"The key of the mailer {account.alias}"
    text = f"{key} may not ask {what}." if reply.status == 403 else f"SendGrid does not say {what}."
    return fact.read(None, account.alias, text=text)
