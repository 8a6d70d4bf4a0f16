"""The app: a page in the admin about the health of the pipeline. Only INSTALLED_APPS names the app."""

from django.apps import AppConfig


class OverviewAppConfig(AppConfig):
    name = "overview_app"
    verbose_name = "SendGrid overview"
    default_auto_field = "django.db.models.BigAutoField"
