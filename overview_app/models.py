"""The model of the page: without a table, for the admin's URL and the permission alone."""

from typing import TYPE_CHECKING

from django.db import models

if TYPE_CHECKING:  # generic for the type checker alone
    _Manager = models.Manager["Overview"]
else:
    _Manager = models.Manager


class _NoRows(_Manager):
    """Finds nothing, without a query: `dumpdata` asks every model for its rows."""

    def get_queryset(self) -> "models.QuerySet[Overview]":
        return super().get_queryset().none()


class Overview(models.Model):
    """The overview of the pipeline."""

    objects = _NoRows()

    class Meta:
        managed = False
        base_manager_name = "objects"
        default_permissions = ("view",)
        verbose_name = verbose_name_plural = "overview"

    def __str__(self) -> str:
        return "overview"
