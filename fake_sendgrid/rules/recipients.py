"""Rules for personalizations: recipients, and fields of their own."""

from collections import Counter
from collections.abc import Container, Iterator, Mapping
from itertools import chain
from typing import Any

from fake_sendgrid.rules import levels
from fake_sendgrid.rules.addresses import address, email_of, emails_of, folded, sender
from fake_sendgrid.rules.fault import Fault, mistyped

#: The most personalizations, and the most recipients in all of them.
MOST = 1000

KINDS = ("to", "cc", "bcc")


def faults(mail: Mapping[str, Any], now: float) -> Iterator[Fault]:
    given = mail.get("personalizations", [])
    yield from mistyped(given, list, "personalizations")
    if given == []:
        yield Fault("You must have at least one personalization.", "personalizations")
    if not isinstance(given, list):
        return
    if len(given) > MOST:
        yield Fault(
            f"The personalization block is limited to {MOST} personalizations, not {len(given)}.",
            "personalizations",
        )
    for index, one in enumerate(given):
        yield from mistyped(one, dict, f"personalizations.{index}")
        if isinstance(one, dict):
            yield from _personalization(one, f"personalizations.{index}.", mail, now)
    if sum(len(_recipients(one)) for one in given if isinstance(one, dict)) > MOST:
        yield Fault(
            f"There is a limit of {MOST} total recipients (to + cc + bcc) per request.", "personalizations"
        )


def refused(mail: Mapping[str, Any], addresses: Container[str]) -> Iterator[Fault]:
    """Yield a fault for each of these addresses among the recipients of a valid mail.

    SendGrid names the place (sendgrid-nodejs issue 974), and takes nothing of the request.
    """
    for index, one in enumerate(mail["personalizations"]):
        for kind in KINDS:
            for place, email in enumerate(emails_of(one.get(kind))):
                if email in addresses:
                    field = f"personalizations.{index}.{kind}.{place}.email"
                    yield Fault("Does not contain a valid address.", field)


def _personalization(
    one: Mapping[str, Any], prefix: str, mail: Mapping[str, Any], now: float
) -> Iterator[Fault]:
    yield from chain(
        _addresses(one, prefix),
        _repeated(one, prefix),
        _from(one, prefix, mail),
        levels.faults(one, prefix, now),
        _custom_args(one, prefix, mail),
        _merge_data(one, prefix, mail),
    )


def _addresses(one: Mapping[str, Any], prefix: str) -> Iterator[Fault]:
    if "to" not in one:
        yield Fault("The to array is required for all personalization objects.", f"{prefix}to")
    for kind in KINDS:
        given = one.get(kind)
        if kind in one:
            yield from mistyped(given, list, f"{prefix}{kind}")
        if given == []:
            yield Fault(
                f"The {kind} array, when used, must have at least one object with a valid email address.",
                f"{prefix}{kind}",
            )
        if isinstance(given, list):
            for index, recipient in enumerate(given):
                yield from address(recipient, f"{prefix}{kind}.{index}")


def _repeated(one: Mapping[str, Any], prefix: str) -> Iterator[Fault]:
    found = Counter(folded(email) for email in _recipients(one))
    for email, times in found.items():
        if times > 1:
            yield Fault(
                "Each email address in the personalization block should be unique between to, cc, and bcc. "
                f"We found the first duplicate instance of [{email}] in the {prefix}to field.",
                f"{prefix}to",
            )
            return


def _from(one: Mapping[str, Any], prefix: str, mail: Mapping[str, Any]) -> Iterator[Fault]:
    if "from" not in one:
        return
    yield from sender(one["from"], f"{prefix}from")
    if _domain(one["from"]) != _domain(mail.get("from")):
        yield Fault("Its domain must be that of the root's from.", f"{prefix}from.email")


def _domain(who: object) -> str:
    return folded(email_of(who).rpartition("@")[2])


def _custom_args(one: Mapping[str, Any], prefix: str, mail: Mapping[str, Any]) -> Iterator[Fault]:
    root, own = mail.get("custom_args"), one.get("custom_args")
    merged = {**(root if isinstance(root, dict) else {}), **(own if isinstance(own, dict) else {})}
    yield from levels.too_long(merged, f"{prefix}custom_args")


def _merge_data(one: Mapping[str, Any], prefix: str, mail: Mapping[str, Any]) -> Iterator[Fault]:
    template = mail.get("template_id")
    dynamic = isinstance(template, str) and template.startswith("d-")
    if "substitutions" in one:
        yield from levels.strings(one["substitutions"], f"{prefix}substitutions")
        if dynamic:
            yield Fault("Substitutions may not be used with dynamic templating.", f"{prefix}substitutions")
    if "dynamic_template_data" in one:
        yield from mistyped(one["dynamic_template_data"], dict, f"{prefix}dynamic_template_data")
        if not dynamic:
            yield Fault(
                "Dynamic template data may only be used with a dynamic template.",
                f"{prefix}dynamic_template_data",
            )


def _recipients(one: Mapping[str, Any]) -> list[str]:
    return [email for kind in KINDS for email in emails_of(one.get(kind))]
