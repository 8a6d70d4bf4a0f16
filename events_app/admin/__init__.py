"""The admin pages of events, inbound mails, and deliveries. Django imports the package."""

from events_app.admin import deliveries, events, inbound

__all__ = ["deliveries", "events", "inbound"]
