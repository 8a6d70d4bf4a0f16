"""The way of an unsubscribe: from the header of a mail to the receivers of `tracking`."""

import pytest
import requests

from tests.support.flows.mail_deployment import MailDeployment
from tests.support.sending.unsubscribe_links import header_of

ANN = "ann@example.com"


@pytest.mark.quick
def test_one_click_in_a_mail_program_is_told_to_the_receivers(mail_deployment: MailDeployment) -> None:
    mail_deployment.configure(UNSUBSCRIBE_URL=f"{mail_deployment.stack.url}mail/")
    mail_deployment.web()
    mail_deployment.mailer()
    (message_id,) = mail_deployment.call("send", to=[ANN], unsubscribe_scope="news").values()
    mail_deployment.wait_for_states("accepted")
    ((personalization,),) = (one.body["personalizations"] for one in mail_deployment.accepted(ANN))
    assert personalization["headers"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    url = header_of(personalization)

    # A link scanner follows the link first. Then Gmail posts, and posts again.
    assert "Unsubscribe?" in requests.get(url, timeout=10).text
    for _ in range(2):
        answer = requests.post(url, data={"List-Unsubscribe": "One-Click"}, timeout=10, allow_redirects=False)
        assert answer.status_code == 200
    mail_deployment.worker()

    unsubscribed = mail_deployment.query(
        "SELECT event_id, message_id, recipient FROM events_app_event WHERE event_type = 'unsubscribed'"
    )
    ((event_id, of_message, recipient),) = unsubscribed
    assert (of_message, recipient) == (message_id, ANN)
    mail_deployment.wait_until(lambda: mail_deployment.called()[event_id], "the receiver called")
    assert mail_deployment.called()[event_id] == 1
    active = "SELECT scope FROM sending_app_suppression WHERE active AND reason = 'unsubscribed'"
    assert mail_deployment.query(active) == [("news",)]

    # "That was a mistake": the button of the page.
    assert "You are subscribed again" in requests.post(f"{url}/undo", timeout=10).text
    ((resubscribed,),) = mail_deployment.query(
        "SELECT event_id FROM events_app_event WHERE event_type = 'subscribed'"
    )
    mail_deployment.wait_until(lambda: mail_deployment.called()[resubscribed], "the receiver called again")
    assert mail_deployment.query(active) == []
