"""Links to the admin pages behind readings."""

from django.urls import NoReverseMatch, reverse

from events_app.shared.facts import Reading

#: The rows on a page, by the name of its URL.
_ROWS = {
    "admin:events_app_pendingdelivery_changelist": "deliveries of events",
    "admin:events_app_pendinginbounddelivery_changelist": "deliveries of inbound mails",
    "admin:sending_app_mail_changelist": "mails",
    "admin:sending_app_opencircuit_change": "paused account",
    "admin:sending_app_suppression_changelist": "suppressed addresses",
}


def rows_of(page: str) -> str:
    """What a reading's `page` shows, in words."""
    name = page.partition("?")[0].partition(" ")[0]
    return _ROWS.get(name, "page")


def url_of(page: str) -> str:
    """The URL of a reading's `page`. Empty if the project has no such page."""
    path, mark, query = page.partition("?")
    name, *arguments = path.split(" ")
    try:
        return f"{reverse(name, args=arguments)}{mark}{query}"
    except NoReverseMatch:
        return ""


def probe_url(reading: Reading) -> str:
    """The URL that lets a worker probe the paused account of the reading. Empty without such a page."""
    _, _, circuit = reading.page.partition(" ")
    return url_of(f"admin:sending_app_opencircuit_act probe {circuit}") if circuit else ""
