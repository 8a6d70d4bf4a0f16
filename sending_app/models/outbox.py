"""The rows of a message and its mails.

`OutboxMessage` and `Attachment` change only when their content is removed. `Mail` is the unit of a request,
and has the state.
"""

from django.db import models
from django.db.models import Q

from events_app.shared import tracing
from events_app.shared.primary import PrimaryModel


def still_in(state: str) -> Q:
    """A condition for the state of mails that a query finds by id.

    With `state = ...` PostgreSQL would prefer the partial index of the state to the primary key, and read
    each mail in the state, and each mail that left the state since the last vacuum.
    """
    return Q(state__range=(state, state))


class OutboxMessage(PrimaryModel):
    """A sent message: the content that all recipients share."""

    created_at = models.DateTimeField()
    #: Of the mailer. The worker reads the key from the settings.
    alias = models.CharField(max_length=64)
    #: For the admin and the commands.
    subject = models.CharField(max_length=200, blank=True)
    #: A `mail.SharedContent` as JSON; null after retention. Bytes: PostgreSQL's jsonb refuses a NUL.
    content = models.BinaryField(null=True)

    class Meta:
        indexes = (
            models.Index(fields=["id"], name="outbox_has_content", condition=Q(content__isnull=False)),
        )
        verbose_name = "message"

    def __str__(self) -> str:
        return f"message {self.pk}"


class Attachment(PrimaryModel):
    """A file of a message, stored once for all mails."""

    message = models.ForeignKey(OutboxMessage, models.CASCADE, related_name="attachments")
    filename = models.CharField(max_length=255)
    type = models.CharField(max_length=255)
    content_id = models.CharField(max_length=255, null=True)  # noqa: DJ001 (None: not shown inline)
    content = models.BinaryField()

    def __str__(self) -> str:
        return f"attachment {self.pk} of message {self.message_id}"


class MessageLabel(PrimaryModel):
    """A tag of a message, or an entry of its metadata, for look-up. Gone with the message's content."""

    #: Characters that the columns keep.
    MOST_NAME, MOST_VALUE = 100, 255

    message = models.ForeignKey(OutboxMessage, models.CASCADE, related_name="labels")
    #: The name of the metadata; empty for a tag.
    name = models.CharField(max_length=MOST_NAME, blank=True)
    value = models.CharField(max_length=MOST_VALUE, blank=True)

    class Meta:
        # The message last: the newest messages with a label are neighbours.
        indexes = (models.Index(fields=["name", "value", "message"], name="message_label"),)

    def __str__(self) -> str:
        return f"label {self.pk} of message {self.message_id}"


class Mail(PrimaryModel):
    """The unit of a request to SendGrid. Most messages have one mail; a large batch has many.

    If SendGrid refuses some personalizations of a mail, they move to another mail (`outcome.refusals`).
    """

    class State(models.TextChoices):
        #: To be posted when due.
        WAITING = "waiting"
        #: A worker holds the lease, or has died.
        POSTING = "posting"
        #: SendGrid has the mail.
        ACCEPTED = "accepted"
        #: A dead letter: `error` says why.
        FAILED = "failed"
        #: SendGrid may have the mail; events decide.
        UNKNOWN = "unknown"
        #: No events came, and nothing proves non-delivery: an operator decides.
        PARKED = "parked"
        #: By an operator.
        CANCELLED = "cancelled"
        #: Not posted: every recipient is suppressed.
        REJECTED = "rejected"

    class Lane(models.TextChoices):
        MAIL = "mail"
        BULK = "bulk"

    message = models.ForeignKey(OutboxMessage, models.CASCADE, related_name="mails")
    state = models.CharField(max_length=9, choices=State, default=State.WAITING)
    lane = models.CharField(max_length=4, choices=Lane)
    #: The message's alias, repeated so that a query for due mails needs no join.
    alias = models.CharField(max_length=64)
    #: Start of the mail's age. A retry by an operator resets the time.
    created_at = models.DateTimeField()
    #: When SendGrid should send the mail; null: at once.
    send_at = models.DateTimeField(null=True)
    #: When a worker may take the mail: to post (`waiting`), to mark as unknown (`posting`: the end of the
    #: lease), to reconcile (`unknown`).
    due = models.DateTimeField()
    #: Token of the last attempt. A late answer to the attempt still counts.
    attempt_token = models.BigIntegerField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    #: Number of attempts with an unknown outcome.
    unknown_outcomes = models.PositiveSmallIntegerField(default=0)
    #: Tokens of these attempts. A part of a split mail has the tokens of the whole mail.
    unknown_attempts = models.JSONField(default=list)
    #: When the last attempt began.
    attempted_at = models.DateTimeField(null=True)
    #: When the last attempt with an unknown outcome ended; after a worker death, the end of the lease.
    unknown_since = models.DateTimeField(null=True)
    #: The account of the last attempt (`account.Account.fingerprint`).
    account = models.CharField(max_length=32, blank=True)
    accepted_at = models.DateTimeField(null=True)
    #: When the first event of the mail reached the webhook, by the clock of Redis.
    first_event_at = models.DateTimeField(null=True)
    #: When the mail reached a final state.
    finished_at = models.DateTimeField(null=True)
    #: SendGrid's id of the request.
    x_message_id = models.CharField(max_length=255, blank=True)
    #: SendGrid has accepted the mail in two requests, by a second response or by its events.
    sent_twice = models.BooleanField(default=False)
    #: When the last attempt ended that paused the account and may have been about this mail alone. Null
    #: after the lease for another account.
    paused_at = models.DateTimeField(null=True)
    #: SendGrid refuses the mail's personalizations, not the content. Holds until SendGrid accepts the mail.
    refused = models.BooleanField(default=False)
    #: Of a part: the id of the mail that was split first. Parts of parts have the same id.
    split_from = models.BigIntegerField(null=True)
    #: Of the mail that was split first: requests of all its parts beyond the first request.
    further_requests = models.PositiveSmallIntegerField(default=0)
    #: Of the mail that was split first: a refusal has named personalizations.
    refusal_named = models.BooleanField(default=False)
    #: SendGrid's text, or ours.
    error = models.TextField(blank=True)
    #: Exceptional steps: objects of "at" and "what".
    log = models.JSONField(default=list)
    recipient_count = models.PositiveIntegerField()
    #: The `mail.Personalization`s as JSON; null after retention.
    personalizations = models.BinaryField(null=True)
    #: The id of the Celery task of the last attempt.
    task_id = models.CharField(max_length=64, blank=True, default="", db_default="")
    #: Of the span of `send()`; null if that is not sampled. Not empty: an insert leaves a null out.
    traceparent = models.CharField(max_length=tracing.LENGTH, null=True)  # noqa: DJ001

    class Meta:
        # Partial indexes for each kind of query, so that finished mails cost no query anything.
        indexes = (
            models.Index(fields=["lane", "due"], name="mail_waiting", condition=Q(state="waiting")),
            models.Index(fields=["due"], name="mail_posting", condition=Q(state="posting")),
            models.Index(fields=["due"], name="mail_unknown", condition=Q(state="unknown")),
            # For mails accepted around an attempt with an unknown outcome.
            models.Index(
                fields=["account", "attempted_at"],
                name="mail_accepted",
                condition=Q(accepted_at__isnull=False),
            ),
            # For operators, and to match replies.
            models.Index(fields=["x_message_id"], name="mail_x_message_id", condition=~Q(x_message_id="")),
            # For operators.
            models.Index(fields=["id"], name="mail_failed", condition=Q(state="failed")),
            models.Index(fields=["id"], name="mail_parked", condition=Q(state="parked")),
            models.Index(fields=["id"], name="mail_cancelled", condition=Q(state="cancelled")),
            models.Index(fields=["id"], name="mail_rejected", condition=Q(state="rejected")),
            models.Index(fields=["id"], name="mail_sent_twice", condition=Q(sent_twice=True)),
            # For the number of mails sent in an hour.
            models.Index(
                fields=["accepted_at"], name="mail_accepted_at", condition=Q(accepted_at__isnull=False)
            ),
        )
        permissions = (
            ("view_addresses", "Can view addresses of mails"),
            ("view_content", "Can view the content of mails"),
            ("act", "Can retry, cancel, settle and send mails again"),
        )

    def __str__(self) -> str:
        return f"{self.state} mail {self.pk}"


#: States of finished mails.
FINAL = (Mail.State.ACCEPTED, Mail.State.FAILED, Mail.State.CANCELLED, Mail.State.REJECTED)
