"""System checks of what a project still has of django-anymail, and what to write instead.

A project may send through other services with django-anymail. Then the app, the URLs and the settings of
django-anymail are in use.
"""

import sys
from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, register
from django.urls import NoReverseMatch, Resolver404, get_script_prefix, resolve, reverse

from events_app.shared.checks import mail_backends, names_in_anymail

#: Anymail's settings for sending through SendGrid, and the settings that all services share.
SENDING_SETTINGS = frozenset(
    {
        "SENDGRID_API_KEY",
        "SENDGRID_API_URL",
        "SENDGRID_GENERATE_MESSAGE_ID",
        "SENDGRID_MERGE_FIELD_FORMAT",
        "SENDGRID_SEND_DEFAULTS",
        "SEND_DEFAULTS",
        "SENDGRID_IDNA_ENCODER",
        "IDNA_ENCODER",
        "REQUESTS_TIMEOUT",
        "IGNORE_UNSUPPORTED_FEATURES",
        "IGNORE_RECIPIENT_STATUS",
    }
)

#: What to do in place of a setting of Anymail that has no effect here.
_WITHOUT_EFFECT = {
    "DEBUG_API_REQUESTS": "Remove it. Look at the requests on a local SendGrid.",
    "SENDGRID_USERNAME": "Remove it, and set SENDGRID_API_KEY.",
    "SENDGRID_PASSWORD": "Remove it, and set SENDGRID_API_KEY.",
    "WEBHOOK_AUTHORIZATION": 'Rename it to WEBHOOK_SECRET: "user:password".',
}

#: How the names of Anymail's settings for other services begin.
_OTHER_SERVICES = (
    *("AMAZON_SES_", "BREVO_", "MAILERSEND_", "MAILGUN_", "MAILJET_", "MAILTRAP_", "MANDRILL_", "POSTAL_"),
    *("POSTMARK_", "RESEND_", "SCALEWAY_", "SENDINBLUE_", "SPARKPOST_", "UNISENDER_GO_"),
)

#: The path in place of a backend of Anymail.
_BACKENDS = {
    "anymail.backends.sendgrid.EmailBackend": "sending_app.backends.queued.EmailBackend",
    "anymail.backends.test.EmailBackend": "sending_app.backends.locmem.EmailBackend",
    "anymail.backends.console.EmailBackend": "django.core.mail.backends.console.EmailBackend",
}


def is_anymails(name: str) -> bool:
    """Whether a name in `ANYMAIL` belongs to Anymail. `check_leftovers` reports those without an effect."""
    return name in SENDING_SETTINGS or name in _WITHOUT_EFFECT or name.startswith(_OTHER_SERVICES)


@register()
def check_leftovers(**_: Any) -> list[CheckMessage]:
    """Check settings, URLs and receivers for what only works with django-anymail."""
    backends = [path for path in mail_backends().values() if path.startswith("anymail.")]
    of_others = sorted(name for name in _setting_names() if name.startswith(_OTHER_SERVICES))
    sends_here = apps.is_installed("sending_app")
    has_app = apps.is_installed("anymail")
    # Before the second step of a move, django-anymail still sends.
    still_sends = bool(backends) and not sends_here
    has_other_services = not _BACKENDS.keys() >= set(backends) or (has_app and bool(of_others))
    messages: list[CheckMessage] = [*_check_urls()]
    if sends_here:
        messages += [
            checks.Warning(
                f"{path} is a backend of django-anymail.", hint=f'Write "{instead}".', id="events_app.W011"
            )
            for path, instead in _BACKENDS.items()
            if path in backends
        ]
    if still_sends or has_other_services:
        return messages
    if has_app:
        messages.append(
            checks.Warning(
                "INSTALLED_APPS has django-anymail, which this project does not send with.",
                hint='Remove "anymail".',
                id="events_app.W012",
            )
        )
    for name in sorted(_WITHOUT_EFFECT.keys() & _setting_names()):
        messages.append(_without_effect(name, _WITHOUT_EFFECT[name]))
    unless = 'Remove it. If your code sends with django-anymail, put "anymail" into INSTALLED_APPS.'
    messages += [_without_effect(name, unless) for name in of_others]
    return [*messages, *_check_receivers(sends_here)]


def _setting_names() -> set[str]:
    """The names in `ANYMAIL`, and of settings that begin with `ANYMAIL_`."""
    prefix = "ANYMAIL_"
    alone = {name.removeprefix(prefix) for name in dir(settings) if name.startswith(prefix)}
    return names_in_anymail() | alone


def _without_effect(name: str, hint: str) -> CheckMessage:
    return checks.Warning(f"Anymail's setting {name} has no effect.", hint=hint, id="events_app.W013")


def _check_urls() -> Iterable[CheckMessage]:
    if not getattr(settings, "ROOT_URLCONF", None):
        return
    for name in ("sendgrid_tracking_webhook", "sendgrid_inbound_webhook"):
        try:
            path = reverse(f"anymail:{name}")
            view = resolve(f"/{path.removeprefix(get_script_prefix())}").func
        except (NoReverseMatch, Resolver404):
            continue
        if getattr(view, "view_class", view).__module__.startswith("anymail."):
            yield checks.Warning(
                f"Posts of SendGrid to {path} go to django-anymail, and not to this project's receivers.",
                hint='In your URLs, write include("events_app.urls") in place of include("anymail.urls"), or '
                "before it with the same prefix.",
                id="events_app.W014",
            )


def _check_receivers(sends_here: bool) -> Iterable[CheckMessage]:
    signals = sys.modules.get("anymail.signals")
    names = {
        **dict.fromkeys(("tracking", "inbound"), "events_app.signals"),
        **(dict.fromkeys(("pre_send", "post_send"), "sending_app.signals") if sends_here else {}),
    }
    for name, module in names.items():
        if getattr(getattr(signals, name, None), "receivers", None):
            yield checks.Warning(
                f"A receiver is connected to anymail.signals.{name}. Nothing here sends this signal.",
                hint=f"Write: from {module} import {name}",
                id="events_app.W015",
            )
