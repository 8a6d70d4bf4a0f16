"""Rules for the root fields of a mail: sender, subject, categories, settings."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

from fake_sendgrid.rules import levels
from fake_sendgrid.rules.addresses import address, emails_of, folded, sender
from fake_sendgrid.rules.fault import Fault, mistyped, text

MOST_CATEGORIES = 10

#: The most characters of a category.
LONGEST_CATEGORY = 255

MOST_REPLY_TO = 1000

MOST_GROUPS = 25

#: The first of these settings excludes the others.
BYPASSES = ("list", "spam", "bounce", "unsubscribe")


def faults(mail: Mapping[str, Any], now: float) -> Iterator[Fault]:
    yield from chain(
        _from(mail),
        _reply_to(mail),
        _subject(mail),
        levels.faults(mail, "", now),
        *(_RULES[name](mail[name]) for name in _RULES if name in mail),
    )


def _from(mail: Mapping[str, Any]) -> Iterator[Fault]:
    if "from" not in mail:
        yield Fault("The from object must be provided for every email send.", "from.email")
    else:
        yield from sender(mail["from"], "from")


def _reply_to(mail: Mapping[str, Any]) -> Iterator[Fault]:
    if "reply_to" in mail and "reply_to_list" in mail:
        yield Fault("Only one of reply_to and reply_to_list may be used.", "reply_to")
    if "reply_to" in mail:
        yield from address(mail["reply_to"], "reply_to")
    several = mail.get("reply_to_list", [])
    yield from mistyped(several, list, "reply_to_list")
    if isinstance(several, list):
        for index, one in enumerate(several):
            yield from address(one, f"reply_to_list.{index}")
        emails = emails_of(several)
        if len({folded(email) for email in emails}) < len(emails) or len(several) > MOST_REPLY_TO:
            yield Fault(f"The reply_to_list has up to {MOST_REPLY_TO} unique addresses.", "reply_to_list")


def _subject(mail: Mapping[str, Any]) -> Iterator[Fault]:
    given = mail.get("personalizations")
    each = given if isinstance(given, list) else []
    own = bool(each) and all(isinstance(one, dict) and one.get("subject") for one in each)
    if "subject" not in mail and not own and not mail.get("template_id"):
        yield Fault(
            "The subject is required. You can get around this requirement if you use a template with a "
            "subject defined or if every personalization has a subject defined.",
            "subject",
        )


def _categories(given: object) -> Iterator[Fault]:
    yield from mistyped(given, list, "categories")
    if not isinstance(given, list):
        return
    if len(given) > MOST_CATEGORIES:
        yield Fault(f"There may be at most {MOST_CATEGORIES} categories.", "categories")
    for index, one in enumerate(given):
        yield from text(one, f"categories.{index}")
        if isinstance(one, str) and not (one.isascii() and len(one) <= LONGEST_CATEGORY):
            yield Fault(f"A category is ASCII, up to {LONGEST_CATEGORY} characters.", f"categories.{index}")
    if len({str(one) for one in given}) < len(given):
        yield Fault("Each category must be unique.", "categories")


def _asm(asm: object) -> Iterator[Fault]:
    yield from mistyped(asm, dict, "asm")
    if not isinstance(asm, dict):
        return
    yield from mistyped(asm.get("group_id"), int, "asm.group_id")
    shown = asm.get("groups_to_display", [])
    yield from mistyped(shown, list, "asm.groups_to_display")
    if isinstance(shown, list):
        for index, group in enumerate(shown):
            yield from mistyped(group, int, f"asm.groups_to_display.{index}")
        if len(shown) > MOST_GROUPS:
            yield Fault(f"There may be at most {MOST_GROUPS} groups.", "asm.groups_to_display")


def _pool(name: object) -> Iterator[Fault]:
    yield from mistyped(name, str, "ip_pool_name")
    if isinstance(name, str) and not 2 <= len(name) <= 64:
        yield Fault("The ip_pool_name must have 2 to 64 characters.", "ip_pool_name")


def _mail_settings(settings: object) -> Iterator[Fault]:
    yield from _switches(settings, "mail_settings")
    if not isinstance(settings, dict):
        return
    bypassed = [kind for kind in BYPASSES if is_on(settings, f"bypass_{kind}_management")]
    if bypassed[:1] == ["list"] and len(bypassed) > 1:
        yield Fault(
            "bypass_list_management cannot be combined with another bypass.",
            "mail_settings.bypass_list_management",
        )


def _tracking_settings(settings: object) -> Iterator[Fault]:
    yield from _switches(settings, "tracking_settings")


def _switches(settings: object, field: str) -> Iterator[Fault]:
    yield from mistyped(settings, dict, field)
    for name, setting in settings.items() if isinstance(settings, dict) else ():
        yield from mistyped(setting, dict, f"{field}.{name}")
        if isinstance(setting, dict) and "enable" in setting:
            yield from mistyped(setting["enable"], bool, f"{field}.{name}.enable")


def is_on(settings: Mapping[str, Any], name: str) -> bool:
    setting = settings.get(name)
    return isinstance(setting, dict) and setting.get("enable") is True


_RULES: dict[str, Callable[[object], Iterator[Fault]]] = {
    "categories": _categories,
    "asm": _asm,
    "ip_pool_name": _pool,
    "mail_settings": _mail_settings,
    "tracking_settings": _tracking_settings,
    "sections": lambda given: levels.strings(given, "sections"),
    "template_id": lambda given: text(given, "template_id"),
    "batch_id": lambda given: text(given, "batch_id"),
}
