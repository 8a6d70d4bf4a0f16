"""The rival's tables for mails, with the same data as our outbox for a mail to one recipient.

They have no migrations: `migrate --run-syncdb` makes them.
"""

from typing import ClassVar

from django.db import models


class Message(models.Model):
    created_at = models.DateTimeField(auto_now_add=True)
    subject = models.CharField(max_length=200)
    body = models.TextField()
    from_email = models.CharField(max_length=320)
    state = models.CharField(max_length=9, default="waiting", db_index=True)
    sent_at = models.DateTimeField(null=True)

    #: Django adds it; django-stubs knows only the apps of the tests.
    objects: ClassVar[models.Manager["Message"]]

    def __str__(self) -> str:
        return f"{self.state} message {self.pk}"


class Recipient(models.Model):
    message = models.ForeignKey(Message, models.CASCADE)
    address = models.CharField(max_length=320)
    anymail_id = models.UUIDField(null=True, unique=True)
    status = models.CharField(max_length=9, default="waiting")

    #: Django adds it; django-stubs knows only the apps of the tests.
    objects: ClassVar[models.Manager["Recipient"]]

    def __str__(self) -> str:
        return f"{self.status} recipient {self.pk}"
