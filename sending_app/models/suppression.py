"""The suppressed addresses, which must not be written to."""

from django.db import models
from django.db.models import Q

from events_app.shared.primary import PrimaryModel
from sending_app.mail import MOST_SCOPE


class Suppression(PrimaryModel):
    """An address that must not be written to for a reason, in a scope.

    A row whose suppression has ended stays, so that an older event cannot bring the suppression back.
    """

    class Reason(models.TextChoices):
        """The reject reasons of Anymail's normalized tracking API that suppress."""

        BOUNCED = "bounced"
        INVALID = "invalid"
        SPAM = "spam"
        UNSUBSCRIBED = "unsubscribed"
        #: By an operator.
        BLOCKED = "blocked"

    class Source(models.TextChoices):
        #: SendGrid's events, and those of the unsubscribe page.
        EVENT = "event"
        OPERATOR = "operator"
        #: A file.
        IMPORT = "import"
        #: The lists of SendGrid's API.
        SENDGRID = "sendgrid"

    #: In the form of `events_app.shared.addresses.comparable`. Of an erased person: the pseudonym.
    address = models.CharField(max_length=320)
    #: A stream of mail: `message.unsubscribe_scope`, or "group:" and the id of SendGrid's unsubscribe group.
    #: Empty: all mail.
    scope = models.CharField(max_length=MOST_SCOPE, blank=True)
    reason = models.CharField(max_length=12, choices=Reason)
    #: Whether the address is suppressed, until `until`.
    active = models.BooleanField(default=True)
    #: Start of the present state.
    since = models.DateTimeField()
    #: Time of the newest word about the row. An older word changes nothing. Of an event: SendGrid's time.
    decided_at = models.DateTimeField()
    #: End of a suppression for a time; null: without end.
    until = models.DateTimeField(null=True, blank=True)
    source = models.CharField(max_length=8, choices=Source)
    #: SendGrid's id of the event behind the present state.
    event_id = models.CharField(max_length=255, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["address", "scope", "reason"], name="suppression_of_an_address"),
        )
        indexes = (
            # Also for addresses that begin with a text, in every collation.
            models.Index(fields=["address"], name="suppression_address", opclasses=["varchar_pattern_ops"]),
            # For lists of the few that have ended, or that end by themselves.
            models.Index(fields=["id"], name="suppression_ended", condition=Q(active=False)),
        )
        permissions = (("act_on_suppressions", "Can add and remove suppressions"),)
        verbose_name = "suppressed address"
        verbose_name_plural = "suppressed addresses"

    def __str__(self) -> str:
        return f"suppression {self.pk}"
