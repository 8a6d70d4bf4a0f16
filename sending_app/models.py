"""The outbox: every mail as it was sent here, what became of it, and where each recipient has got to.

`OutboxMessage` and `Attachment` never change but for losing their content at the end of its retention.
`Mail` is what one request takes, and what has a state. `Recipient` is moved by tracking events.
"""

from django.db import models
from django.db.models import Q


class OutboxMessage(models.Model):
    """One message that was sent: what all its recipients share."""

    created_at = models.DateTimeField()
    #: The mailer that sends it; the worker looks its key up in the settings.
    alias = models.CharField(max_length=64)
    #: For people.
    subject = models.CharField(max_length=200, blank=True)
    #: A `mail.SharedContent` as JSON; null after its retention. Bytes: PostgreSQL's jsonb refuses a NUL.
    content = models.BinaryField(null=True)

    class Meta:
        indexes = (
            models.Index(fields=["id"], name="outbox_has_content", condition=Q(content__isnull=False)),
        )

    def __str__(self) -> str:
        return f"message {self.pk}"


class Attachment(models.Model):
    """A file of a message, for all its mails."""

    message = models.ForeignKey(OutboxMessage, models.CASCADE, related_name="attachments")
    filename = models.CharField(max_length=255)
    type = models.CharField(max_length=255)
    content_id = models.CharField(max_length=255, null=True)  # noqa: DJ001 (None: not shown inline)
    content = models.BinaryField()

    def __str__(self) -> str:
        return f"attachment {self.pk} of message {self.message_id}"


class Mail(models.Model):
    """What one request to SendGrid takes. Most messages have one; a large batch has many."""

    class State(models.TextChoices):
        #: To be posted when it is due.
        WAITING = "waiting"
        #: A worker posts it, or has died over it.
        POSTING = "posting"
        #: SendGrid has it.
        ACCEPTED = "accepted"
        #: Given up: `error` says why.
        FAILED = "failed"
        #: SendGrid may have it or not; its events will tell.
        UNKNOWN = "unknown"
        #: No events came, and nothing shows that they would have: for a person to decide.
        PARKED = "parked"
        #: By an operator.
        CANCELLED = "cancelled"

    class Lane(models.TextChoices):
        MAIL = "mail"
        BULK = "bulk"

    message = models.ForeignKey(OutboxMessage, models.CASCADE, related_name="mails")
    state = models.CharField(max_length=9, choices=State, default=State.WAITING)
    lane = models.CharField(max_length=4, choices=Lane)
    #: As its message's, so that a look for work reads this table alone.
    alias = models.CharField(max_length=64)
    #: Its age counts from then; who has it tried again by hand moves it.
    created_at = models.DateTimeField()
    #: When SendGrid is to send it; null: at once.
    send_at = models.DateTimeField(null=True)
    #: When a worker may take it up: to post it, to mark it unknown (`posting`: the end of
    #: its lease), to reconcile it (`unknown`).
    due = models.DateTimeField()
    #: The token of the last attempt. A late answer to it still counts.
    attempt_token = models.BigIntegerField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    #: How often an attempt's outcome was unknown.
    unknown_outcomes = models.PositiveSmallIntegerField(default=0)
    #: When the last attempt began.
    attempted_at = models.DateTimeField(null=True)
    #: When the last attempt of unknown outcome ended; of a worker that died, when its lease did.
    unknown_since = models.DateTimeField(null=True)
    #: The account of the last attempt (`account.Account.fingerprint`).
    account = models.CharField(max_length=32, blank=True)
    accepted_at = models.DateTimeField(null=True)
    #: When the first event that bears one of its ids reached the webhook, by the clock of Redis.
    first_event_at = models.DateTimeField(null=True)
    #: When it came to its final state.
    finished_at = models.DateTimeField(null=True)
    #: SendGrid's id of the request.
    x_message_id = models.CharField(max_length=255, blank=True)
    #: SendGrid has accepted it twice, for all we know.
    sent_twice = models.BooleanField(default=False)
    #: SendGrid's own words, or ours.
    error = models.TextField(blank=True)
    #: What did not go the plain way: objects of "at" and "what".
    log = models.JSONField(default=list)
    recipient_count = models.PositiveIntegerField()
    #: The `mail.Personalization`s, as JSON; null at the end of their retention.
    personalizations = models.BinaryField(null=True)

    class Meta:
        # One for each look: what is done is in the way of none.
        indexes = (
            models.Index(fields=["lane", "due"], name="mail_waiting", condition=Q(state="waiting")),
            models.Index(fields=["due"], name="mail_posting", condition=Q(state="posting")),
            models.Index(fields=["due"], name="mail_unknown", condition=Q(state="unknown")),
            # For the mails that were accepted around an attempt of unknown outcome.
            models.Index(
                fields=["account", "attempted_at"],
                name="mail_accepted",
                condition=Q(accepted_at__isnull=False),
            ),
            # For an operator's look, and to find what a mail answers.
            models.Index(fields=["x_message_id"], name="mail_x_message_id", condition=~Q(x_message_id="")),
            # For an operator's look.
            models.Index(fields=["id"], name="mail_failed", condition=Q(state="failed")),
            models.Index(fields=["id"], name="mail_parked", condition=Q(state="parked")),
            models.Index(fields=["id"], name="mail_sent_twice", condition=Q(sent_twice=True)),
        )

    def __str__(self) -> str:
        return f"{self.state} mail {self.pk}"


#: States in which nothing is left to do.
FINAL = (Mail.State.ACCEPTED, Mail.State.FAILED, Mail.State.CANCELLED)


class Recipient(models.Model):
    """One address one personalization goes to. In a batch, cc and bcc get one a copy."""

    class Kind(models.TextChoices):
        TO = "to"
        CC = "cc"
        BCC = "bcc"

    mail = models.ForeignKey(Mail, models.CASCADE, related_name="recipients")
    #: The personalization's id, which comes back in its events.
    message_id = models.UUIDField()
    #: As it went out, casefolded.
    address = models.CharField(max_length=320)
    kind = models.CharField(max_length=3, choices=Kind)
    #: How far delivery has got; see `outcome.recipients`, which alone moves it.
    status = models.CharField(max_length=9, default="queued")
    rank = models.PositiveSmallIntegerField(default=0)
    #: When the event happened that gave it its status.
    status_at = models.DateTimeField(null=True)
    #: Of `bounced` and `rejected`.
    reject_reason = models.CharField(max_length=12, blank=True)
    #: The first time each.
    opened_at = models.DateTimeField(null=True)
    clicked_at = models.DateTimeField(null=True)
    complained_at = models.DateTimeField(null=True)
    unsubscribed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["message_id", "address"], name="recipient_of_a_personalization"),
        )
        # Not db_index: for text that makes a second index on PostgreSQL, for LIKE.
        indexes = (models.Index(fields=["address"], name="recipient_address"),)

    def __str__(self) -> str:
        return f"{self.status} recipient {self.pk}"


class OpenCircuit(models.Model):
    """The open circuit breaker of an account: nobody posts to it for now. A post that works closes it."""

    #: `account.Account.fingerprint`
    account = models.CharField(max_length=32, primary_key=True)
    #: One of the mailers that use it.
    alias = models.CharField(max_length=64)
    opened_at = models.DateTimeField()
    #: From then on one worker may probe the account (half-open).
    probe_at = models.DateTimeField()
    #: Posts in a row that did not work.
    failures = models.PositiveIntegerField(default=1)
    status_code = models.PositiveSmallIntegerField(null=True)
    #: SendGrid's own words.
    reason = models.TextField(blank=True)

    def __str__(self) -> str:
        return f"open circuit of {self.alias}"


class WebhookActivity(models.Model):
    """A step of time in which an event of an account's mails reached the webhook."""

    #: `account.Account.fingerprint`
    account = models.CharField(max_length=32)
    #: When the step begins, by the clock of Redis.
    at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["account", "at"], name="activity_of_an_account"),)

    def __str__(self) -> str:
        return f"activity at {self.at}"
