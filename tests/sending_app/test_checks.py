"""What is wrong is named before the first mail is sent."""

from collections.abc import Callable, Iterator

import django
import pytest
from django.core import checks
from django.urls import get_script_prefix, set_script_prefix
from kombu import Queue
from pytest_django import Settings

from sending_app import account, conf
from sending_app.checks import (
    DIRECT,
    QUEUED,
    check_mail_settings,
    check_mail_tasks,
    check_mail_tasks_are_queued,
    check_retention_of_mails,
    check_suppression_is_on,
    check_unsubscribe_url,
)
from sending_app.tasks import BULK, MAIL
from tests.support.sending.django_mail import use_backend
from workers.app import app


@pytest.fixture(autouse=True)
def key(anymail: Callable[..., None], settings: Settings) -> None:
    anymail(SENDGRID_API_KEY="SG.one")
    settings.DEFAULT_FROM_EMAIL = "shop@example.com"


@pytest.fixture
def celery() -> Iterator[None]:
    """The app's settings as they were, after the test."""
    names = ("task_always_eager", "task_queues", "task_create_missing_queues")
    before = {name: app.conf[name] for name in names}
    yield
    app.conf.update(before)


def ids() -> list[str | None]:
    return [found.id for found in check_mail_settings()]


def celery_ids() -> list[str | None]:
    """What `check --deploy` finds in the Celery app."""
    return [found.id for found in (*check_mail_tasks(), *check_mail_tasks_are_queued())]


def test_sound_settings_pass_the_checks() -> None:
    assert ids() == celery_ids() == []


def test_checks_are_registered() -> None:
    always = set(checks.registry.registry.get_checks())
    assert {check_mail_settings, check_mail_tasks, check_unsubscribe_url} <= always
    deploy = checks.registry.registry.get_checks(include_deployment_checks=True)
    expected = {check_mail_tasks_are_queued, check_retention_of_mails, check_suppression_is_on}
    assert expected <= set(deploy) - always


def test_a_retention_of_mails_that_nobody_has_chosen_is_a_warning(
    anymail: Callable[..., None], settings: Settings
) -> None:
    use_backend(settings, QUEUED)
    anymail(OUTBOX_RETENTION_DAYS=None)
    assert [found.id for found in check_retention_of_mails()] == ["sending_app.W005"]
    anymail(OUTBOX_RETENTION_DAYS=0)
    assert check_retention_of_mails() == []


def test_without_the_queued_backend_no_retention_is_asked_for(
    anymail: Callable[..., None], settings: Settings
) -> None:
    use_backend(settings, "django.core.mail.backends.smtp.EmailBackend")
    anymail(OUTBOX_RETENTION_DAYS=None)
    assert check_retention_of_mails() == []


@pytest.mark.parametrize(
    ("values", "backend", "advised"),
    [
        ({}, QUEUED, True),
        ({}, DIRECT, True),
        ({"SUPPRESSION": True}, QUEUED, False),
        ({"SUPPRESSION": "perhaps"}, QUEUED, False),
        ({"SENDGRID_API_KEY": None}, QUEUED, False),
        ({}, "django.core.mail.backends.smtp.EmailBackend", False),
    ],
)
def test_a_deployment_that_sends_is_advised_to_leave_suppressed_addresses_out(
    anymail: Callable[..., None],
    settings: Settings,
    values: dict[str, object],
    backend: str,
    advised: bool,
) -> None:
    anymail(**{"SENDGRID_API_KEY": "SG.one", **values})
    use_backend(settings, backend)
    found = [(one.id, one.level) for one in check_suppression_is_on()]
    assert found == [("sending_app.I001", checks.INFO)] * advised


@pytest.mark.parametrize(("is_on", "found"), [(True, []), (False, [("sending_app.W007", checks.WARNING)])])
def test_an_unsubscribe_page_whose_promise_send_does_not_keep_is_a_warning(
    anymail: Callable[..., None], settings: Settings, is_on: bool, found: list[tuple[str, int]]
) -> None:
    anymail(UNSUBSCRIBE_URL="https://example.com/mail/", SUPPRESSION=is_on)
    use_backend(settings, QUEUED)
    assert [(one.id, one.level) for one in check_suppression_is_on()] == found


def test_all_unusable_values_are_named_at_once(anymail: Callable[..., None]) -> None:
    anymail(SEND_MAX_AGE="long", SENDGRID_API_URL="nowhere", SENDGRID_API_KEY=None)
    found = check_mail_settings()
    assert [one.id for one in found] == ["sending_app.E001", "sending_app.E001"]
    assert "ANYMAIL['SENDGRID_API_URL']" in found[0].msg


@pytest.mark.parametrize(("wait", "warned"), [(1, True), (119, True), (120, False), (600, False)])
def test_a_short_unknown_wait_is_a_warning(
    anymail: Callable[..., None], settings: Settings, wait: int, warned: bool
) -> None:
    anymail(SEND_UNKNOWN_WAIT=wait)
    use_backend(settings, QUEUED)
    assert ids() == ["sending_app.W003"] * warned


def test_a_short_unknown_wait_is_no_warning_for_the_direct_backend(
    anymail: Callable[..., None], settings: Settings
) -> None:
    anymail(SEND_UNKNOWN_WAIT=1)
    use_backend(settings, DIRECT)
    assert ids() == []


@pytest.mark.parametrize("value", ["idna1999", "nowhere.at_all", ".at_all"])
def test_an_unknown_idna_encoder_is_an_error(anymail: Callable[..., None], value: str) -> None:
    anymail(IDNA_ENCODER=value)
    (found,) = check_mail_settings()
    assert found.id == "sending_app.E001"
    assert found.msg.startswith("IDNA_ENCODER: ")
    assert found.msg.count("IDNA_ENCODER") == 1


@pytest.mark.parametrize("backend", [QUEUED, DIRECT])
def test_a_mailer_without_an_api_key_is_a_warning(
    settings: Settings, anymail: Callable[..., None], backend: str
) -> None:
    use_backend(settings, backend)
    anymail(SENDGRID_API_KEY=None)
    (found,) = check_mail_settings()
    assert (found.id, found.level, found.hint) == (
        *("sending_app.W001", checks.WARNING, "Until then send() raises."),
    )
    assert "SENDGRID_API_KEY" in found.msg


def test_another_backend_needs_no_api_key(settings: Settings, anymail: Callable[..., None]) -> None:
    use_backend(settings, "django.core.mail.backends.dummy.EmailBackend")
    anymail(SENDGRID_API_KEY=None)
    assert ids() == []


@pytest.mark.usefixtures("celery")
def test_eager_tasks_are_an_error_with_the_queued_backend(settings: Settings) -> None:
    use_backend(settings, QUEUED)
    app.conf.task_always_eager = True
    assert check_mail_tasks() == []
    assert celery_ids() == ["sending_app.E002"]


@pytest.mark.usefixtures("celery")
def test_a_mail_queue_missing_from_task_queues_is_an_error(settings: Settings) -> None:
    use_backend(settings, QUEUED)
    app.conf.task_queues = [Queue(MAIL)]
    (found,) = check_mail_tasks()
    assert found.id == "sending_app.E003"
    assert BULK in found.msg
    assert MAIL not in found.msg
    app.conf.task_create_missing_queues = True
    assert celery_ids() == []


@pytest.mark.usefixtures("celery")
def test_the_direct_backend_needs_no_worker(settings: Settings) -> None:
    use_backend(settings, DIRECT)
    app.conf.task_always_eager = True
    app.conf.task_queues = [Queue("other")]
    assert celery_ids() == []


def test_backend_paths_in_the_checks_match_the_classes() -> None:
    from sending_app.backends import direct, queued  # noqa: PLC0415

    assert f"{queued.EmailBackend.__module__}.EmailBackend" == QUEUED
    assert f"{direct.EmailBackend.__module__}.EmailBackend" == DIRECT
    assert conf.API_KEY.bare


def test_an_unknown_send_default_is_a_warning(anymail: Callable[..., None]) -> None:
    anymail(SEND_DEFAULTS={"tgs": ["news"], "tags": [], "headers": {}})
    (warning,) = check_mail_settings()
    assert (warning.id, warning.hint) == ("sending_app.W002", "Did you mean 'tags'?")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "no API key"),
        ({"api_key": ""}, "no API key"),
        ({"api_key": "SG.news", "api_kye": ""}, "unknown option 'api_kye'"),
        ({"api_key": "SG.news", "timeout": "long"}, "REQUESTS_TIMEOUT"),
        ({"api_key": "SG.news", "idna_encoder": "idna1999"}, "idna1999"),
    ],
)
def test_each_named_account_is_checked(
    anymail: Callable[..., None], options: dict[str, str], expected: str
) -> None:
    anymail(SENDGRID_ACCOUNTS={"good": {"api_key": "SG.good"}, "news": options})
    (found,) = check_mail_settings()
    assert found.id == "sending_app.W001"
    assert expected in found.msg


@pytest.mark.parametrize(
    ("accounts", "expected"),
    [
        (["news"], "must be a dict of accounts"),
        ({"news": "SG.news"}, "must be a dict of accounts"),
        ({7: {}}, "the name 7 must be a string"),
        ({"": {}}, "the name '' must be a string"),
        ({"a" * 65: {}}, "1 to 64 characters"),
        ({"default": {}}, "'default' is the account of SENDGRID_API_KEY"),
    ],
)
def test_named_accounts_in_no_usable_form_are_an_error(
    anymail: Callable[..., None], accounts: object, expected: str
) -> None:
    anymail(SENDGRID_ACCOUNTS=accounts)
    (found,) = check_mail_settings()
    assert found.id == "sending_app.E001"
    assert expected in found.msg
    assert account.usable() == []


@pytest.mark.parametrize("backend", [QUEUED, DIRECT])
@pytest.mark.parametrize(
    "sender",
    [
        "webmaster@localhost",
        "The shop <shop@LocalHost>",
        "root@localhost.localdomain",
        "root@shop.localhost",
    ],
)
def test_a_sender_at_localhost_is_a_warning(settings: Settings, backend: str, sender: str) -> None:
    use_backend(settings, backend)
    settings.DEFAULT_FROM_EMAIL = sender
    (found,) = check_mail_settings()
    assert (found.id, found.level) == ("sending_app.W004", checks.WARNING)
    assert (
        found.msg
        == f"DEFAULT_FROM_EMAIL is {sender!r}, and SendGrid sends no mail from there: send() raises."
    )


def test_a_server_email_at_localhost_is_a_warning_for_a_project_with_admins(settings: Settings) -> None:
    use_backend(settings, QUEUED)
    settings.SERVER_EMAIL = "root@localhost"
    assert ids() == []
    settings.ADMINS = ["ann@example.com"] if django.VERSION >= (6, 0) else [("Ann", "ann@example.com")]
    (found,) = check_mail_settings()
    assert found.id == "sending_app.W004"
    assert "SERVER_EMAIL is 'root@localhost'" in found.msg


@pytest.mark.parametrize(
    "sender", ["shop@localhost.example", "localhost@example.com", "shop@mylocalhost", "", "localhost"]
)
def test_another_sender_is_no_warning(settings: Settings, sender: str) -> None:
    use_backend(settings, QUEUED)
    settings.DEFAULT_FROM_EMAIL = sender
    assert ids() == []


def test_a_local_sender_is_no_warning_where_nothing_is_sent(
    settings: Settings, anymail: Callable[..., None]
) -> None:
    settings.DEFAULT_FROM_EMAIL = "webmaster@localhost"
    use_backend(settings, "sending_app.backends.locmem.EmailBackend")
    assert ids() == []
    use_backend(settings, QUEUED)
    anymail(SENDGRID_API_KEY=None)
    assert ids() == ["sending_app.W001"]
    anymail(EAGER_IN_TESTS=True)
    assert ids() == []


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("", []),
        ("https://example.com/mail/", []),
        ("https://example.com/mail", []),
        ("https://example.com/", ["sending_app.W006"]),
        ("https://example.com/anymail/", ["sending_app.W006"]),
        ("nonsense", []),  # `check_mail_settings` reports it
    ],
)
def test_the_url_of_links_to_unsubscribe_leads_to_the_page(
    anymail: Callable[..., None], url: str, found: list[str]
) -> None:
    anymail(UNSUBSCRIBE_URL=url)
    assert [one.id for one in check_unsubscribe_url()] == found


@pytest.mark.parametrize(("path", "found"), [("/shop/mail/", []), ("/shop/", ["sending_app.W006"])])
def test_the_url_of_links_may_be_of_a_site_below_a_path(
    anymail: Callable[..., None], path: str, found: list[str]
) -> None:
    anymail(UNSUBSCRIBE_URL=f"https://example.com{path}")
    before = get_script_prefix()
    set_script_prefix("/shop/")
    try:
        assert [one.id for one in check_unsubscribe_url()] == found
    finally:
        set_script_prefix(before)
