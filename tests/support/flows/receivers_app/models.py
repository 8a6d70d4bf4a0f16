"""The table that a receiver writes to, in the database of the events."""

from typing import ClassVar

from django.db import models


class Total(models.Model):
    """How often an event was counted, as far as that was committed."""

    # The type checker does not know of this app: it is in the deployment's INSTALLED_APPS alone.
    objects: ClassVar[models.Manager["Total"]] = models.Manager()

    event_id = models.CharField(max_length=255, unique=True)
    total = models.IntegerField(default=0)

    class Meta:
        app_label = "receivers_app"

    def __str__(self) -> str:
        return f"{self.event_id}: {self.total}"
