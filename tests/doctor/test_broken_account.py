"""A key, a sender or a plan with which SendGrid sends no mail is named, with its mend."""

from collections.abc import Callable

import pytest
from pytest_django import Settings

from fake_sendgrid.http_server import Request, Response
from fake_sendgrid.server import FakeSendGrid
from fake_sendgrid.webhook_sender import WebhookSender
from tests.support.doctor import Examination, Line, examine

pytestmark = pytest.mark.django_db(databases=["default", "postgres"], transaction=True)


def texts(run: Examination, level: str = "ok") -> list[str]:
    return [line.text for line in run.lines if line.subject == "SendGrid" and line.level == level]


def test_a_key_that_was_revoked(sendgrid: FakeSendGrid) -> None:
    sendgrid.keys = {"SG.another"}
    fault = examine().fault("SendGrid")
    assert fault.level == "error"
    assert fault.text == "SendGrid refuses the API key of the mailer default: it is wrong or revoked."
    assert fault.advice.startswith('Make a key with the permission "Mail Send"')


def test_a_key_that_may_not_send(sendgrid: FakeSendGrid) -> None:
    sendgrid.account.scopes = ["whitelabel.read", "user.credits.read"]
    fault = examine().fault("SendGrid")
    assert fault == Line(
        "SendGrid",
        "error",
        "The API key of the mailer default may not send mail: it lacks the scope mail.send.",
        'Give the key the permission "Mail Send" in SendGrid\'s console (Settings, API Keys).',
    )


def test_a_key_that_may_only_send_leaves_the_rest_unknown(sendgrid: FakeSendGrid) -> None:
    sendgrid.account.scopes = ["mail.send"]
    run = examine()
    assert not [line for line in run.faults() if line.subject == "SendGrid"]
    assert texts(run) == [
        "SendGrid accepts the API key of the mailer default.",
        "The key of the mailer default may send mail, and not set up webhooks.",
    ]
    assert texts(run, "unknown") == [
        "The key of the mailer default may not ask whether DEFAULT_FROM_EMAIL is verified.",
        "The key of the mailer default may not ask how many mails the plan still allows.",
        "The key of the mailer default may not ask whether an Event Webhook posts to this project.",
    ]


def test_a_sender_whose_domain_sendgrid_does_not_know(sendgrid: FakeSendGrid) -> None:
    sendgrid.account.domains = {"example.org": True}
    fault = examine().fault("SendGrid")
    assert fault.text.startswith("SendGrid does not know the sender of DEFAULT_FROM_EMAIL, at example.com")
    assert fault.advice.startswith("Authenticate example.com in SendGrid's console")


def test_a_sender_whose_domain_is_not_yet_authenticated(sendgrid: FakeSendGrid) -> None:
    sendgrid.account.domains = {"example.com": False}
    fault = examine().fault("SendGrid")
    assert fault.text.startswith("SendGrid has not yet verified the sender")


def test_a_single_sender_may_send(sendgrid: FakeSendGrid) -> None:
    sendgrid.account.domains, sendgrid.account.senders = {}, {"shop@example.com": True}
    assert "DEFAULT_FROM_EMAIL is a verified sender." in texts(examine())


def test_nobody_knows_whether_a_subdomain_of_an_authenticated_domain_may_send(
    sendgrid: FakeSendGrid, settings: Settings
) -> None:
    settings.DEFAULT_FROM_EMAIL = "shop@mail.shop.example.com"
    sendgrid.account.domains = {"example.com": True, "shop.example.com": False}
    [unknown] = texts(examine(), "unknown")
    assert unknown.startswith("Not known: whether mail.shop.example.com, the domain of DEFAULT_FROM_EMAIL,")
    assert unknown.endswith(" example.com may.")


@pytest.mark.parametrize(("left", "level"), [(9, "warning"), (0, "error")])
def test_a_plan_that_is_used_up(sendgrid: FakeSendGrid, left: int, level: str) -> None:
    sendgrid.account.credits_left, sendgrid.account.credits_in_all = left, 100
    fault = examine().fault("SendGrid")
    assert fault.level == level
    assert fault.text == f"The plan of the mailer default allows {left} more mails of 100, until 2026-12-01."
    assert "Look at the plan" in fault.advice


def test_an_api_that_does_not_answer(anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_URL="http://127.0.0.1:1/v3/")
    fault = examine().fault("SendGrid")
    assert fault.text.startswith("SendGrid cannot be asked about the mailer default: ConnectionRefusedError")
    assert "SENDGRID_API_URL" in fault.advice


@pytest.mark.parametrize("body", [b"<html>", b"[" * 200_000])
def test_an_address_that_is_not_the_api(
    sendgrid: FakeSendGrid, anymail: Callable[..., None], body: bytes
) -> None:
    sendgrid.serve_other_paths(lambda _: Response(200, {}, body))
    anymail(SENDGRID_API_URL=sendgrid.url.replace("/v3/", "/"))
    assert "the answer to scopes is not JSON" in examine().fault("SendGrid").text


def test_a_key_with_a_line_break_is_not_sent(sendgrid: FakeSendGrid, anymail: Callable[..., None]) -> None:
    anymail(SENDGRID_API_KEY="SG.fake\nX: y")
    run = examine()
    assert "the API key has characters that no key has: a line break?" in run.fault("SendGrid").text
    assert "X: y" not in run.output


def test_accounts_with_the_same_key_are_asked_once(
    sendgrid: FakeSendGrid, anymail: Callable[..., None]
) -> None:
    sendgrid.keys = {"SG.fake"}
    anymail(SENDGRID_ACCOUNTS={"news": {"api_key": "SG.news"}, "same": {"api_key": "SG.fake"}})
    run = examine()
    assert run.fault("SendGrid").text.startswith("SendGrid refuses the API key of the mailer news")
    assert "SendGrid accepts the API key of the mailer default." in texts(run)
    assert "same" not in run.output


def test_without_a_key_only_the_check_says_so(anymail: Callable[..., None], settings: Settings) -> None:
    anymail(SENDGRID_API_KEY="")
    run = examine()
    assert not texts(run)
    (line,) = (line for line in run.lines if "has no API key" in line.text)
    assert (line.subject, line.level) == ("Configuration", "warning")


# --- The Event Webhook ---


def test_a_webhook_that_posts_elsewhere(sendgrid: FakeSendGrid) -> None:
    sendgrid.event_webhooks.remove_all()
    webhook = {"url": "https://user:a-password@example.com/hooks/", "enabled": True}
    sendgrid.event_webhooks.create(webhook, with_status_change=False)
    run = examine()
    fault = run.fault("SendGrid")
    assert fault.text.startswith("No enabled Event Webhook of the mailer default posts to this project")
    assert fault.advice.startswith("`manage.py sendgrid_webhooks setup`")
    assert "a-password" not in run.output


@pytest.mark.parametrize(
    ("signs", "words"), [(True, "a key that is not in"), (False, "no signature, against")]
)
def test_a_verification_key_that_is_not_that_of_sendgrid(
    sendgrid: FakeSendGrid, anymail: Callable[..., None], signs: bool, words: str
) -> None:
    (webhook,) = sendgrid.event_webhooks.all(with_status_change=False)["webhooks"]
    key = sendgrid.event_webhooks.sign(webhook["id"], {"enabled": signs})["public_key"]
    anymail(SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY=WebhookSender().public_key)
    fault = examine().fault("SendGrid")
    assert fault.level == "error"
    assert f"with {words} SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY." in fault.text
    assert fault.advice.startswith(
        "Copy the verification key" if signs else "`manage.py sendgrid_webhooks sign"
    )
    if signs:
        anymail(SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY=[WebhookSender().public_key, key])
        assert not [line for line in examine().faults() if line.subject == "SendGrid"]


def test_a_webhook_without_the_password_of_this_server(
    sendgrid: FakeSendGrid, anymail: Callable[..., None]
) -> None:
    anymail(WEBHOOK_SECRET="user:a-password-of-tests")
    run = examine()
    fault = run.fault("SendGrid")
    assert (fault.level, "without a password of WEBHOOK_SECRET" in fault.text) == ("error", True)
    assert "--basic-auth" in fault.advice
    assert "a-password" not in run.output


@pytest.mark.parametrize("null", [b"null", b"7", b'{"scopes": null, "results": null}', b'{"scopes": [{}]}'])
def test_answers_that_are_not_as_documented_leave_facts_unknown(
    sendgrid: FakeSendGrid, anymail: Callable[..., None], null: bytes
) -> None:
    sendgrid.serve_other_paths(lambda _: Response(200, {}, null))
    anymail(SENDGRID_API_URL=sendgrid.url.replace("/v3/", "/"))
    assert "fault of the program" not in examine().output


def test_a_webhook_api_that_is_down_leaves_the_webhook_unknown(
    sendgrid: FakeSendGrid, anymail: Callable[..., None]
) -> None:
    def answer(request: Request) -> Response:
        if "webhooks" in request.path:
            return Response(500, {}, b"<html>")
        return Response(200, {}, b'{"scopes": ["mail.send"]}')

    sendgrid.serve_other_paths(answer)
    anymail(SENDGRID_API_URL=sendgrid.url.replace("/v3/", "/"))
    said = "SendGrid does not say whether an Event Webhook posts to this project: it answered 500."
    assert said in texts(examine(), "unknown")


def test_the_sender_of_another_account_is_a_warning(
    sendgrid: FakeSendGrid, anymail: Callable[..., None]
) -> None:
    sendgrid.account.domains, sendgrid.keys = {}, {"SG.fake", "SG.news"}
    anymail(SENDGRID_ACCOUNTS={"news": {"api_key": "SG.news"}})
    levels = [(line.level, line.text[-24:]) for line in examine().faults() if "sender" in line.text]
    assert levels == [("error", "s by the mailer default."), ("warning", "ails by the mailer news.")]
