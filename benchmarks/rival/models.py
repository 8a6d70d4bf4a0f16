"""The rival's table of events. It has no migrations: `migrate --run-syncdb` makes the table."""

from typing import ClassVar

from django.db import models


class ReceivedEvent(models.Model):
    event_id = models.CharField(max_length=100, unique=True)
    event_type = models.CharField(max_length=20)
    timestamp = models.DateTimeField(null=True)
    message_id = models.CharField(max_length=200)
    recipient = models.CharField(max_length=320)
    esp_event = models.JSONField()

    #: Django adds it; django-stubs knows only the apps of the tests.
    objects: ClassVar[models.Manager["ReceivedEvent"]]

    def __str__(self) -> str:
        return f"{self.event_type} of {self.message_id}"
