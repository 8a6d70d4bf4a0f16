"""The admin pages of events, inbound mails, and deliveries. Django imports the package."""

from events_app.admin import deliveries, erased, events, inbound

__all__ = ["deliveries", "erased", "events", "inbound"]
