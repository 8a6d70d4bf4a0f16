"""Our backends in tests: Django's runner replaces them by locmem unless a test sets them."""

import django
from django.test import override_settings


def using(backend: str) -> override_settings:
    """Mail goes to this backend of `sending_app.backends`."""
    path = f"sending_app.backends.{backend}.EmailBackend"
    if django.VERSION >= (6, 1):
        return override_settings(MAILERS={"default": {"BACKEND": path}})
    return override_settings(EMAIL_BACKEND=path)
