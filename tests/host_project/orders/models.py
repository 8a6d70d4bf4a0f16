"""What the shop keeps of events and inbound mail."""

from typing import ClassVar

from django.db import models


class Call(models.Model):
    """A call of a receiver of `tracking`."""

    objects: ClassVar[models.Manager["Call"]] = models.Manager()

    receiver = models.CharField(max_length=32)
    event_id = models.CharField(max_length=255)

    def __str__(self) -> str:
        return f"{self.receiver}: {self.event_id}"


class Question(models.Model):
    """A customer's mail to the shop."""

    objects: ClassVar[models.Manager["Question"]] = models.Manager()

    sender = models.EmailField()
    text = models.TextField()

    def __str__(self) -> str:
        return f"{self.sender}: {self.text}"
