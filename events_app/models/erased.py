"""The erased persons. Events about their earlier mails may still come."""

from django.db import models

from events_app.shared.primary import PrimaryModel


class ErasedPerson(PrimaryModel):
    """A person who was erased. The row has the pseudonym and nothing else about the person."""

    #: See `events_app.shared.personal_data.pseudonyms`.
    pseudonym = models.CharField(max_length=64, unique=True)
    #: Start of the last erasure. Events of mails sent later are stored unchanged.
    erased_at = models.DateTimeField()

    class Meta:
        permissions = (("erase", "Can erase a person"),)
        verbose_name = "erased person"
        verbose_name_plural = "erased persons"

    def __str__(self) -> str:
        return self.pseudonym
