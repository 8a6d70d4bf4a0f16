"""The app that `./dev chaos` adds to its deployment. Each process records its work in files."""

from django.apps import AppConfig


class WorkLogConfig(AppConfig):
    name = "devstack.work_log"

    def ready(self) -> None:
        from devstack.work_log import recording  # noqa: F401, PLC0415 (it reads the environment)
