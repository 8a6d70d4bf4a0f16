"""Who must not be written to: from SendGrid's event to the mail that does not leave."""

import pytest

from tests.support.flows.mail_deployment import MailDeployment

ANN, BOUNCES = "ann@example.com", "bounce@example.com"


def suppress(deployment: MailDeployment, address: str, reason: str, scope: str) -> None:
    deployment.execute(
        "INSERT INTO sending_app_suppression"
        " (address, scope, reason, active, since, decided_at, source, event_id)"
        f" VALUES ('{address}', '{scope}', '{reason}', TRUE, '2026-01-01', '2026-01-01', 'operator', '')"
    )


def own_events(deployment: MailDeployment) -> list[tuple[str, str]]:
    """The id and the recipient of each event of ours, once the receivers have been called."""
    if deployment.query("SELECT 1 FROM events_app_pendingdelivery"):
        return []
    found = deployment.query("SELECT event_id, recipient FROM events_app_event WHERE webhook = 'own'")
    return [(event_id, recipient) for event_id, recipient in found]


@pytest.mark.quick
def test_a_bounced_address_gets_no_further_mail_and_a_receiver_is_told(
    mail_deployment: MailDeployment,
) -> None:
    mail_deployment.configure(
        SUPPRESSION="true",
        IGNORE_RECIPIENT_STATUS="true",
        UNSUBSCRIBE_URL=f"{mail_deployment.stack.url}mail/",
    )
    mail_deployment.web()
    mail_deployment.worker()
    mail_deployment.mailer()

    mail_deployment.call("send", to=[BOUNCES])
    mail_deployment.wait_until(
        lambda: (
            mail_deployment.query("SELECT address, reason FROM sending_app_suppression")
            == [(BOUNCES, "bounced")]
        ),
        "the suppression",
    )
    mail_deployment.wait_for_states("accepted")
    ids = mail_deployment.call("send", to=[BOUNCES, ANN])
    mail_deployment.wait_for_states("accepted", "accepted")
    assert ids.keys() == {BOUNCES, ANN}
    assert len(mail_deployment.accepted(BOUNCES)) == 1

    mail_deployment.wait_until(lambda: own_events(mail_deployment), "the event of ours")
    ((event_id, recipient),) = own_events(mail_deployment)
    assert recipient == BOUNCES
    called = [call for call in mail_deployment.call_log.calls() if call.event_id == event_id]
    assert called
    assert len(called) == len({call.receiver for call in called})

    mail_deployment.call("send", to=[BOUNCES])
    assert mail_deployment.states() == ["accepted", "accepted", "rejected"]


@pytest.mark.quick
def test_a_password_reset_passes_an_unsubscription_from_the_news(mail_deployment: MailDeployment) -> None:
    mail_deployment.configure(
        SUPPRESSION="true",
        IGNORE_RECIPIENT_STATUS="true",
        UNSUBSCRIBE_URL=f"{mail_deployment.stack.url}mail/",
    )
    suppress(mail_deployment, ANN, "unsubscribed", "news")
    suppress(mail_deployment, BOUNCES, "bounced", "")

    mail_deployment.call("send", to=[ANN], unsubscribe_scope="news", subject="News")
    mail_deployment.call("send", to=[ANN], subject="Your password")
    mail_deployment.call("send", to=[BOUNCES], subject="Your password")
    mail_deployment.mailer()

    mail_deployment.wait_for_states("rejected", "accepted", "rejected")
    assert [request.body["subject"] for request in mail_deployment.sendgrid.accepted] == ["Your password"]


@pytest.mark.quick
def test_a_mail_to_a_person_who_unsubscribes_before_the_post_is_rejected(
    mail_deployment: MailDeployment,
) -> None:
    mail_deployment.configure(SUPPRESSION="true", UNSUBSCRIBE_URL=f"{mail_deployment.stack.url}mail/")
    mail_deployment.call("send", to=[ANN], unsubscribe_scope="news")
    suppress(mail_deployment, ANN, "unsubscribed", "news")
    mail_deployment.mailer()
    mail_deployment.worker()

    mail_deployment.wait_for_states("rejected")
    assert mail_deployment.statuses() == {ANN: "rejected"}
    assert not mail_deployment.sendgrid.requests
    mail_deployment.wait_until(lambda: own_events(mail_deployment), "the event of ours")
