"""The circuit breaker of each account, and the activity of the webhook for an account."""

from django.db import models

from events_app.shared.primary import PrimaryModel


class OpenCircuit(PrimaryModel):
    """An open circuit breaker: workers do not post to the account. A successful post closes the circuit."""

    #: `account.Account.fingerprint`
    account = models.CharField(max_length=32, primary_key=True)
    #: A mailer that uses the account.
    alias = models.CharField(max_length=64)
    opened_at = models.DateTimeField()
    #: When a single worker may probe the account (half-open).
    probe_at = models.DateTimeField()
    #: Consecutive failed posts.
    failures = models.PositiveIntegerField(default=1)
    status_code = models.PositiveSmallIntegerField(null=True)
    #: SendGrid's text.
    reason = models.TextField(blank=True)

    class Meta:
        verbose_name = "paused account"

    def __str__(self) -> str:
        return f"paused account of the mailer {self.alias}"


class WebhookActivity(PrimaryModel):
    """A bucket of time in which the webhook received events of an account's mails."""

    #: `account.Account.fingerprint`
    account = models.CharField(max_length=32)
    #: Start of the bucket, by the clock of Redis.
    at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["account", "at"], name="activity_of_an_account"),)

    def __str__(self) -> str:
        return f"activity at {self.at}"
