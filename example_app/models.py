"""What this deployer wants to know of events and of inbound mail."""

from django.db import models


class Bounce(models.Model):
    """An address that bounced."""

    recipient = models.CharField(max_length=320)
    reason = models.CharField(max_length=16)

    def __str__(self) -> str:
        return f"bounce {self.pk}"


class Click(models.Model):
    """A link somebody clicked."""

    url = models.TextField()

    def __str__(self) -> str:
        return f"click {self.pk}"


class Reply(models.Model):
    """What somebody answered to a mail of ours."""

    #: The id of that mail.
    answers = models.CharField(max_length=255)
    sender = models.CharField(max_length=320)
    text = models.TextField()

    def __str__(self) -> str:
        return f"reply {self.pk}"


class Call(models.Model):
    """One call of the receiver that writes them all down; the demo counts them."""

    event_type = models.CharField(max_length=16)

    def __str__(self) -> str:
        return f"call {self.pk}"
