"""An example of a deployer's app. It connects its receivers when Django is ready."""

from django.apps import AppConfig


class ExampleAppConfig(AppConfig):
    name = "example_app"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from example_app import receivers  # noqa: F401, PLC0415 (it needs the app's models)
