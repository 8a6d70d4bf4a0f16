"""Every post of an inbound mail: where it is kept, and what was read in it."""

from django.db import models


class InboundMail(models.Model):
    """One post of Inbound Parse. SendGrid may post one mail several times: each is a row of its own."""

    #: The name of the post's body in the storage.
    file = models.CharField(max_length=255)
    #: Bytes of the body.
    size = models.PositiveIntegerField()
    #: SHA-256 of the body.
    digest = models.BinaryField(max_length=32)
    #: As the request had it: it names the boundary.
    content_type = models.CharField(max_length=255)
    received_at = models.DateTimeField()
    #: The webhook it came through, "tracking" or "inbound": names the view that receivers get as `sender`.
    webhook = models.CharField(max_length=32)

    # What a worker has found in it; empty before, and where it cannot be read.

    #: What all posts of one mail share (`inbound.parse.post`).
    key = models.BinaryField(max_length=16, null=True, editable=False)
    #: The first post of the same mail.
    duplicate_of = models.ForeignKey("self", models.SET_NULL, null=True)
    #: Its own Message-ID, of its sender's making.
    message_id = models.CharField(max_length=255, blank=True)
    #: The id of the message of ours that it answers, as `anymail_status` has it.
    answers = models.CharField(max_length=255, blank=True)
    #: The address in From; lower case, for look-up.
    sender = models.CharField(max_length=320, blank=True)
    #: The first address it was for by its envelope; lower case.
    recipient = models.CharField(max_length=320, blank=True)
    subject = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["file"], name="inbound_file"),)
        # Not db_index, nor unique: for text that makes a second index on PostgreSQL, for LIKE.
        indexes = (
            models.Index(fields=["key"], name="inbound_key"),
            models.Index(fields=["message_id"], name="inbound_message_id"),
            models.Index(fields=["answers"], name="inbound_answers", condition=~models.Q(answers="")),
            models.Index(fields=["sender"], name="inbound_sender"),
            models.Index(fields=["recipient"], name="inbound_recipient"),
        )

    def __str__(self) -> str:
        return f"inbound mail {self.pk}"
