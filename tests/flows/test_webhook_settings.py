"""The key of the Event Webhook is set and changed by commands while events come: none refused, none lost."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from devstack.process import Process
from fake_sendgrid.event_webhook import EventPost
from tests.support.documents import block, commands
from tests.support.fake_sendgrid.api_requests import mail_body, post_mail
from tests.support.flows.databases import on_sqlite
from tests.support.flows.deployment import PATIENCE
from tests.support.flows.mail_deployment import MailDeployment

KEYS = "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY"

#: Of a mail to an address without a meaning.
EVENTS_OF_A_MAIL = 2

EVENTS_OF_A_TEST = 11


class Console:
    """A person with the command, who copies keys into the environment and restarts web."""

    def __init__(self, deployment: MailDeployment) -> None:
        self._deployment = deployment
        self._web: Process | None = None

    def run(self, text: str) -> None:
        """Run the commands of a block, with the URL of this deployment."""
        stack = self._deployment.stack
        for command in commands(text):
            arguments = command.replace("https://your.host/", stack.url).split()
            assert arguments[:2] == ["python", "manage.py"]
            stack.manage(*arguments[2:])

    def deploy_keys(self) -> None:
        keys = self._deployment.sendgrid.event_webhooks.public_keys()
        self._deployment.configure(**{KEYS: ",".join(keys)})
        if self._web:
            self._web.stop()
        self._web = self._deployment.web()


@contextmanager
def mails_to(deployment: MailDeployment) -> Iterator[list[str]]:
    """Meanwhile SendGrid accepts mails, whose events it posts. The list has their ids."""
    over, accepted = threading.Event(), []

    def post() -> None:
        while not over.wait(0.05):
            answer = post_mail(deployment.sendgrid.url, mail_body("ada@example.com"))
            accepted.append(answer.headers["X-Message-Id"])

    thread = threading.Thread(target=post)
    thread.start()
    try:
        yield accepted
    finally:
        over.set()
        thread.join()


@on_sqlite
@pytest.mark.quick
def test_the_webhook_is_set_up_and_its_key_changed_while_events_come(mail_deployment: MailDeployment) -> None:
    sendgrid, url = mail_deployment.sendgrid, mail_deployment.stack.webhook_url
    posts: list[EventPost] = []
    sendgrid.call_after_posts(posts.append)
    sendgrid.webhook_url = None
    mail_deployment.configure(**{KEYS: ""})
    person = Console(mail_deployment)
    mail_deployment.worker()

    person.run(block("docs/sendgrid-console.md", "Set up the signed webhook"))
    person.deploy_keys()
    person.run(block("docs/sendgrid-console.md", "Set up the signed webhook", 2))
    with mails_to(mail_deployment) as mails:
        person.run(block("docs/sendgrid-console.md", "Change the key"))
        person.deploy_keys()
        person.run(block("docs/sendgrid-console.md", "Change the key", 2))
        sendgrid.event_webhooks.pass_time(25 * 3600)
        person.run(block("docs/sendgrid-console.md", "Change the key", 3))
        person.deploy_keys()
        after = len(mails)
        mail_deployment.wait_until(lambda: len(mails) > after, "a mail after the change")
    sendgrid.wait_until_posted(PATIENCE)

    # The same event of both webhooks is one.
    mail_deployment.wait_until_received(stored=EVENTS_OF_A_MAIL * len(mails) + 2 * EVENTS_OF_A_TEST)
    assert not {post.status for post in posts} - {200, None}  # None: web restarts
    with mail_deployment.redis() as redis:
        counted = [name for name in redis.hgetall("{sendgrid:events}:counters") if b"webhook_posts" in name]
    assert counted
    assert all(b'"200"' in name for name in counted), counted
    assert [hook["url"] for hook in sendgrid.event_webhooks.all(with_status_change=False)["webhooks"]] == [
        f"{url}?key=2"
    ]
