"""Links from one admin page to another."""

from typing import Any

from django.db.models import Model
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html

#: The page of the mail with a message id, in a project with `sending_app`.
MAIL = "admin:sending_app_mail_of_message_id"


def link_to(row: Model, words: str) -> str:
    """A link to the admin page of the row. Only the row's primary key is read."""
    meta: Any = row._meta
    page = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])
    return format_html('<a href="{}">{}</a>', page, words)


def mail_link(message_id: str, words: str = "") -> str:
    """A link to the mail with this message id; the words are the id by default.

    In a project without `sending_app`, and for an id that `sending_app` never gives, only the id.
    """
    if not message_id:
        return ""
    try:
        page = reverse(MAIL, args=[message_id])
    except NoReverseMatch:
        return message_id
    return format_html('<a href="{}">{}</a>', page, words or message_id)
