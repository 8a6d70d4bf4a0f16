"""Tables for the data that the example's receivers store."""

from django.db import models


class Bounce(models.Model):
    """An address that bounced."""

    recipient = models.CharField(max_length=320)
    reason = models.CharField(max_length=16)

    def __str__(self) -> str:
        return f"bounce {self.pk}"


class Click(models.Model):
    """A clicked link."""

    url = models.TextField()

    def __str__(self) -> str:
        return f"click {self.pk}"


class Reply(models.Model):
    """A reply to a mail of ours."""

    #: The id of our mail.
    answers = models.CharField(max_length=255)
    sender = models.CharField(max_length=320)
    text = models.TextField()

    def __str__(self) -> str:
        return f"reply {self.pk}"


class Call(models.Model):
    """A call of `note_call`. The demo counts the rows."""

    event_type = models.CharField(max_length=16)

    def __str__(self) -> str:
        return f"call {self.pk}"
