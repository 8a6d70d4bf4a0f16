"""The admin pages of the outbox. Django imports this package."""

from sending_app.admin import circuits, mails, messages, recipients, suppressions

__all__ = ["circuits", "mails", "messages", "recipients", "suppressions"]
