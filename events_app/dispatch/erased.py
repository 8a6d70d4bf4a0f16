"""Events of erased persons, without data of the person."""

import json
from collections.abc import Iterable
from datetime import datetime

from django.db.models import QuerySet

from events_app.conf import STORE_IP_ADDRESSES, STORE_USER_AGENTS
from events_app.decode import Unreadable, decode_object
from events_app.models import ErasedPerson
from events_app.shared.addresses import comparable
from events_app.shared.personal_data import registry
from events_app.shared.personal_data.person import Person
from events_app.shared.personal_data.pseudonyms import PERSONAL_DATA_KEY

#: The keys of SendGrid's events with the IP address of a person or a server.
_IP_KEYS = frozenset({"ip", "client_ip"})
_USER_AGENT_KEYS = frozenset({"useragent"})

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def without_person(raw: bytes, person: Person) -> bytes:
    """An event of the person without the address, IP address and user agent. The other facts stay."""
    try:
        event = decode_object(raw)
    except Unreadable:
        return person.redact(raw)
    event = {name: fact for name, fact in event.items() if name not in _IP_KEYS | _USER_AGENT_KEYS}
    email = event.get("email")
    if isinstance(email, str) and comparable(email) in person.addresses:
        event["email"] = person.pseudonym
    return person.redact(_encode(event).encode())


def unwanted_keys() -> frozenset[str]:
    """The keys of events that are not stored, by the settings."""
    unwanted = frozenset[str]()
    if not STORE_IP_ADDRESSES.get():
        unwanted |= _IP_KEYS
    if not STORE_USER_AGENTS.get():
        unwanted |= _USER_AGENT_KEYS
    return unwanted


def without_keys(raw: bytes, unwanted: frozenset[str]) -> bytes:
    """A readable event without these keys."""
    event = decode_object(raw)
    if unwanted.isdisjoint(event):
        return raw
    return _encode({name: fact for name, fact in event.items() if name not in unwanted}).encode()


def about_erased(mails: Iterable[tuple[str, str]], using: str) -> set[tuple[str, str]]:
    """Out of pairs (recipient, message id): those whose mail is older than the erasure of its recipient.

    A mail of unknown age is taken as older. Asks one query while nobody is erased. Raises database errors.
    """
    # Without a key nobody can be erased.
    erased = ErasedPerson.objects.using(using)
    if not PERSONAL_DATA_KEY.get() or not erased.exists():
        return set()
    return _older(set(mails), erased)


def _older(mails: set[tuple[str, str]], erased: "QuerySet[ErasedPerson]") -> set[tuple[str, str]]:
    recipients = {address for address, _ in mails if address}
    pseudonyms = {address: Person(address).pseudonym for address in recipients}
    rows = erased.filter(pseudonym__in=set(pseudonyms.values()))
    erased_at: dict[str, datetime] = dict(rows.values_list("pseudonym", "erased_at"))
    if not erased_at:
        return set()
    affected = {
        (address, message_id): (message_id, erased_at[pseudonyms[address]])
        for address, message_id in mails
        if address and pseudonyms[address] in erased_at
    }
    newer = registry.newer_mails({pair for pair in affected.values() if pair[0]})
    return {mail for mail, pair in affected.items() if pair not in newer}
