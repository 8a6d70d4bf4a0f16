"""What the host keeps of events."""

from typing import ClassVar

from django.db import models


class Heard(models.Model):
    """One call of one receiver."""

    # The type checker does not know of this app: it is in the host's INSTALLED_APPS alone.
    objects: ClassVar[models.Manager["Heard"]] = models.Manager()

    receiver = models.CharField(max_length=16)
    event_id = models.CharField(max_length=255)

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return f"{self.receiver} heard {self.event_id}"
