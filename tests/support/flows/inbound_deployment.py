"""A deployment that sends mail and takes inbound mail."""

from email.message import EmailMessage
from pathlib import Path
from typing import NamedTuple

from devstack.process import Process
from devstack.stack import EVENT_QUEUES
from devstack.valkey import Valkey
from fake_sendgrid import inbound_form
from fake_sendgrid.multipart_form import MultipartForm
from tests.support.flows.databases import DatabaseTemplate, is_postgres
from tests.support.flows.deployment import LONG_AGO, STREAM
from tests.support.flows.mail_deployment import MailDeployment
from tests.support.flows.receivers_app.call_log import ReceivedMail


class MailRow(NamedTuple):
    """A stored post and its pending delivery."""

    message_id: str
    duplicate_of: int | None
    answers: str
    #: "done" without a pending delivery.
    state: str
    failures: int
    error: str


class InboundDeployment(MailDeployment):
    def __init__(
        self, folder: Path, valkey: Valkey, database_url: str, template: DatabaseTemplate | None = None
    ) -> None:
        super().__init__(folder, valkey, database_url, template)
        #: Where posts are kept.
        self.store = folder / "inbound"
        self.configure(
            INBOUND_FOLDER=self.store, SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY=self.sender.public_key
        )
        self.sendgrid.inbound_url = self.stack.inbound_url

    def events_worker(self) -> Process:
        return self._keep(self.stack.worker(queues=EVENT_QUEUES))

    def inbound_worker(self) -> Process:
        return self._keep(self.stack.inbound())

    def post_mail(self, mail: EmailMessage | bytes | MultipartForm) -> int:
        """The status of one post of a mail; a raw one unless it is a form."""
        form = mail if isinstance(mail, MultipartForm) else inbound_form.raw_form(mail)
        answer = self.sender.post(
            self.stack.inbound_url, form.body(), timeout=30, content_type=form.content_type
        )
        return answer.status_code

    def mails(self) -> list[MailRow]:
        found = self.query(
            "SELECT m.message_id, m.duplicate_of_id, m.answers, coalesce(w.state, 'done'), "
            "coalesce(w.failures, 0), coalesce(w.error, '') "
            "FROM events_app_inboundmail m LEFT JOIN events_app_pendinginbounddelivery w ON w.mail_id = m.id "
            "ORDER BY m.id"
        )
        return [MailRow(*row) for row in found]

    def states(self) -> list[str]:
        return [mail.state for mail in self.mails()]

    def received_mails(self) -> list[ReceivedMail]:
        """Mails that the receiver has read, in its order."""
        return self.call_log.mails()

    def wait_for_states(self, *states: str) -> None:
        self.wait_until(lambda: self.states() == list(states), f"mails are {', '.join(states)}")

    def files(self) -> list[Path]:
        return [path for path in self.store.rglob("*") if path.is_file()]

    def expire_leases(self) -> None:
        """Let time pass: every lease on a mail expires."""
        pending = "SELECT mail_id FROM events_app_pendinginbounddelivery WHERE state = 'pending'"
        if is_postgres(self.database_url):
            pending += " FOR UPDATE SKIP LOCKED"
        self.execute(
            f"UPDATE events_app_pendinginbounddelivery SET due = '{LONG_AGO}' WHERE mail_id IN ({pending})"
        )
        with self.redis() as redis:
            # The next tick is not too early, and a recovery that was killed holds up no other.
            redis.delete(*(f"{STREAM}:{name}" for name in ("tick", "inbound_recover")))
