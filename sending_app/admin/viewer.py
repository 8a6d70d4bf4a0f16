"""What the user of a page of mails may see."""

from typing import Any

from django.http import HttpRequest

from events_app.shared.admin import viewer


class MailViewer(viewer.Viewer):
    """The user's permissions, also for the links to other pages."""

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request, "sending_app")
        user: Any = request.user
        self.mails = bool(user.has_perm("sending_app.view_mail"))
        self.suppressions = bool(user.has_perm("sending_app.view_suppression"))
        self.events = bool(user.has_perm("events_app.view_event"))
        self.inbound = bool(user.has_perm("events_app.view_inboundmail"))
        #: For texts of events and inbound mails.
        self.received = viewer.Viewer(request, "events_app")
