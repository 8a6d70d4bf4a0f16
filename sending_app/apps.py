"""The app that will send mail. It has nothing yet."""

from django.apps import AppConfig


class SendingAppConfig(AppConfig):
    name = "sending_app"
    verbose_name = "SendGrid mail"
    default_auto_field = "django.db.models.BigAutoField"
