"""The content of an inbound mail's page, without the content of the mail."""

from typing import Any

from django.utils.html import format_html_join

from events_app.admin.delivery import delivery_context
from events_app.models import InboundMail
from events_app.shared.admin.links import link_to, mail_link
from events_app.shared.admin.times import utc_time
from events_app.shared.admin.viewer import Viewer
from events_app.shared.escaping import one_line

#: Duplicates on a page.
FIRST = 50


def inbound_context(row: InboundMail, viewer: Viewer) -> dict[str, Any]:
    """The context of the template "inbound.html". No file is read."""
    first = InboundMail(pk=row.duplicate_of_id)
    return {
        "title": f"Inbound mail {row.pk}",
        "subtitle": None,
        "is_read": row.key is not None,
        "may_view_content": viewer.content,
        "facts": [
            ("Subject", viewer.line(row.subject)),
            ("From", viewer.address(row.sender)),
            ("To", viewer.address(row.recipient)),
            ("Received", utc_time(row.received_at)),
            ("Message-ID", one_line(row.message_id)),
            ("Answers the mail", mail_link(row.answers)),
            ("Duplicate of", link_to(first, f"inbound mail {first.pk}") if first.pk else ""),
            ("Duplicates", _duplicates(row)),
            ("Size of the post", f"{row.size} bytes"),
        ],
        "delivery": delivery_context(row, viewer),
    }


def _duplicates(row: InboundMail) -> str:
    duplicates = InboundMail.objects.filter(duplicate_of=row.pk).order_by("pk").values_list("pk", flat=True)
    shown = list(duplicates[: FIRST + 1])
    links = [link_to(InboundMail(pk=pk), f"inbound mail {pk}") for pk in shown[:FIRST]]
    more = ["and more"] if len(shown) > FIRST else []
    return format_html_join(", ", "{}", ((part,) for part in (*links, *more)))
