"""The pages of recipients: `include("sending_app.urls")`, below the prefix of UNSUBSCRIBE_URL."""

from django.urls import path

from sending_app.unsubscribe.views import UNDO, ResubscribeView, UnsubscribeView
from sending_app.unsubscribe_links import PATH

app_name = "sending_app"

urlpatterns = [
    path(f"{PATH}<str:token>", UnsubscribeView.as_view(), name="unsubscribe"),
    path(f"{PATH}<str:token>{UNDO}", ResubscribeView.as_view(), name="resubscribe"),
]
