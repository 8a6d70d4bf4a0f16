"""The posts of inbound mails: the place of the file, and the fields for look-up."""

from django.db import models

from events_app.shared.primary import PrimaryModel

#: Beginning of `file` once a person was erased from the mail: there is no file any more.
ERASED = "erased/"


class InboundMail(PrimaryModel):
    """A post of Inbound Parse. SendGrid may post a mail several times: every post gets a row."""

    #: The name of the post's body in the storage.
    file = models.CharField(max_length=255)
    #: Bytes of the body.
    size = models.PositiveIntegerField()
    #: SHA-256 of the body.
    digest = models.BinaryField(max_length=32)
    #: The request's Content-Type, with the boundary of the form.
    content_type = models.CharField(max_length=255)
    received_at = models.DateTimeField()
    #: The name of the webhook, "tracking" or "inbound". Receivers get its view as `sender`.
    webhook = models.CharField(max_length=32)

    # A worker reads these fields from the mail. Empty before, and if the mail is unreadable.

    #: The same for all posts of a mail (`inbound.parse.post`).
    key = models.BinaryField(max_length=16, null=True, editable=False)
    #: The first post of the mail.
    duplicate_of = models.ForeignKey("self", models.SET_NULL, null=True)
    #: The Message-ID from the sender.
    message_id = models.CharField(max_length=255, blank=True)
    #: If the mail is a reply to a message of ours: the message's id, as in `anymail_status`.
    answers = models.CharField(max_length=255, blank=True)
    #: The address in From; lower case, for look-up.
    sender = models.CharField(max_length=320, blank=True)
    #: The first recipient in the envelope; lower case.
    recipient = models.CharField(max_length=320, blank=True)
    subject = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["file"], name="inbound_file"),)
        # Not db_index or unique: for a text column they add a second index for LIKE on PostgreSQL.
        indexes = (
            models.Index(fields=["key"], name="inbound_key"),
            models.Index(fields=["message_id"], name="inbound_message_id"),
            models.Index(fields=["answers"], name="inbound_answers", condition=~models.Q(answers="")),
            # The class lets PostgreSQL also find the addresses that begin with a text, in every collation.
            models.Index(fields=["sender"], name="inbound_sender", opclasses=["varchar_pattern_ops"]),
            models.Index(fields=["recipient"], name="inbound_recipient", opclasses=["varchar_pattern_ops"]),
        )

    def __str__(self) -> str:
        return f"inbound mail {self.pk}"
