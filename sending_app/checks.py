"""System checks of what can be wrong before the first mail is sent."""

from collections.abc import Iterable
from email.utils import parseaddr
from typing import Any
from urllib.parse import urlsplit

from celery import current_app
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.urls import Resolver404, get_script_prefix, resolve

from events_app.shared.checks import hint, mail_backends, missing_queues, not_chosen, unusable
from events_app.shared.eager import is_eager
from sending_app import account, conf, tasks
from sending_app.backends import direct
from sending_app.compose import addresses
from sending_app.compose.address_rules import is_local
from sending_app.compose.attributes import KNOWN
from sending_app.unsubscribe.views import UnsubscribeView
from sending_app.unsubscribe_links import PATH

#: Seconds below which the wait for events proves nothing. SendGrid gathers events for 30 seconds before it
#: posts them ("Event Webhook Overview"), and longer under load.
SHORTEST_WAIT = 120

#: Where the backends are.
QUEUED, DIRECT = "sending_app.backends.queued.EmailBackend", "sending_app.backends.direct.EmailBackend"


@register(Tags.security)
def check_mail_settings(**_: Any) -> list[CheckMessage]:
    """Check the values of settings, and each mailer's key."""
    messages = unusable(conf.SETTINGS, "sending_app.E001")
    if messages:
        return messages
    try:
        addresses.encoder(conf.SENDGRID_IDNA_ENCODER.get() or conf.IDNA_ENCODER.get())
    except ImproperlyConfigured as error:
        messages.append(Error(str(error), id="sending_app.E001"))
    for setting in (conf.SEND_DEFAULTS, conf.SENDGRID_SEND_DEFAULTS):
        messages += [
            checks.Warning(
                f"{setting.name} has {name!r}, which is no attribute of a message.",
                hint=hint(name, KNOWN),
                id="sending_app.W002",
            )
            for name in sorted(setting.get().keys() - KNOWN)
        ]
    return [*messages, *_check_mailers(), *_check_accounts()]


@register()
def check_mail_tasks(**_: Any) -> list[CheckMessage]:
    """Check that a worker can get the mails."""
    if QUEUED not in mail_backends().values():
        return []
    if missing := missing_queues((tasks.MAIL, tasks.BULK)):
        return [
            Error(
                f"The Celery app's task_queues lack {', '.join(missing)}: no mail would ever be sent.",
                hint="Add them to task_queues, or turn task_create_missing_queues on.",
                id="sending_app.E003",
            )
        ]
    return []


@register()
def check_unsubscribe_url(**_: Any) -> list[CheckMessage]:
    """Check that the links to unsubscribe lead to the page."""
    if unusable([conf.UNSUBSCRIBE_URL], "sending_app.E001"):  # `check_mail_settings` reports it
        return []
    url = conf.UNSUBSCRIBE_URL.get()
    if not url or _leads_to_page(url):
        return []
    return [
        checks.Warning(
            f"UNSUBSCRIBE_URL is {url}, and no URL pattern leads from {url}{PATH}... to the page.",
            hint='Include the pages in urls.py: path("mail/", include("sending_app.urls")). Then set '
            "https://your.host/mail/. Silence this warning if a proxy changes the path.",
            id="sending_app.W006",
        )
    ]


@register(deploy=True)
def check_mail_tasks_are_queued(**_: Any) -> list[CheckMessage]:
    """Check that the queued backend leaves its work to workers."""
    if QUEUED not in mail_backends().values() or not current_app.conf.task_always_eager:
        return []
    return [
        Error(
            "task_always_eager is on: send() would wait for SendGrid.",
            hint="Turn it off and run a worker, or use the direct backend.",
            id="sending_app.E002",
        )
    ]


@register(deploy=True)
def check_retention_of_mails(**_: Any) -> list[CheckMessage]:
    """Check that the project has decided how long mails are kept."""
    if QUEUED not in mail_backends().values():
        return []
    return not_chosen(conf.RETENTION_DAYS, "finished mails", "sending_app.W005")


@register(deploy=True)
def check_suppression_is_on(**_: Any) -> list[CheckMessage]:
    """Recommend to leave suppressed addresses out. Warn if the unsubscribe page promises so."""
    sends = any(backend in (QUEUED, DIRECT) for backend in mail_backends().values()) and account.usable()
    if not sends or unusable([conf.SUPPRESSION], "sending_app.E001") or conf.SUPPRESSION.get():
        return []
    if not unusable([conf.UNSUBSCRIBE_URL], "sending_app.E001") and conf.UNSUBSCRIBE_URL.get():
        return [
            checks.Warning(
                "UNSUBSCRIBE_URL is set and SUPPRESSION is off: the unsubscribe page promises that no more "
                "mail is sent, and send() sends it.",
                hint="Turn SUPPRESSION on. Silence this warning if your own receiver ends the mail.",
                id="sending_app.W007",
            )
        ]
    return [
        checks.Info(
            "SUPPRESSION is off: mail goes to addresses that bounced, complained of spam or unsubscribed.",
            hint="Turn it on, so that send() leaves these addresses out. docs/suppression.md says which.",
            id="sending_app.I001",
        )
    ]


def _leads_to_page(url: str) -> bool:
    # URL patterns begin after the prefix of a site that is below a path (FORCE_SCRIPT_NAME).
    path = f"/{urlsplit(url).path.removeprefix(get_script_prefix()).lstrip('/')}"
    try:
        match = resolve(f"{path}{PATH}token")
    except Resolver404:
        return False
    return getattr(match.func, "view_class", None) is UnsubscribeView


def _check_mailers() -> Iterable[CheckMessage]:
    mailers = mail_backends()
    has_key = False
    for alias, backend in mailers.items():
        if backend in (QUEUED, DIRECT):
            try:
                account.named(alias)
                has_key = True
            except ImproperlyConfigured as error:
                # A warning: a project that only receives events needs no key.
                yield checks.Warning(str(error), hint="Until then send() raises.", id="sending_app.W001")
    if has_key and not is_eager():  # a test run sends nothing
        yield from _check_senders()
    wait = conf.UNKNOWN_WAIT.get()
    if wait < SHORTEST_WAIT and QUEUED in mailers.values():
        yield checks.Warning(
            f"SEND_UNKNOWN_WAIT is {wait} seconds, and SendGrid gathers events for 30 seconds or more before "
            "it posts them: a mail that SendGrid has accepted could be sent again.",
            hint=f"Set it to {SHORTEST_WAIT} or more; the default is {conf.UNKNOWN_WAIT.default}.",
            id="sending_app.W003",
        )


def _check_senders() -> Iterable[CheckMessage]:
    senders = {"DEFAULT_FROM_EMAIL": settings.DEFAULT_FROM_EMAIL}
    if settings.ADMINS or settings.MANAGERS:
        senders["SERVER_EMAIL"] = settings.SERVER_EMAIL
    for name, sender in senders.items():
        if is_local(parseaddr(str(sender))[1]):
            yield checks.Warning(
                f"{name} is {sender!r}, and SendGrid sends no mail from there: send() raises.",
                hint="Set it to a sender that you have verified at SendGrid.",
                id="sending_app.W004",
            )


def _check_accounts() -> Iterable[CheckMessage]:
    for name in conf.ACCOUNTS.get():
        try:
            account.named(name)
            direct.EmailBackend(account=name)  # reads the options of which `named` has no need
        except ImproperlyConfigured as error:
            yield checks.Warning(str(error), hint="Until then its mail waits.", id="sending_app.W001")
