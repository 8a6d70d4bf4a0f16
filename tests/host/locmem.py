"""The host with what a test run has: the locmem backend, an outbox, and the module that sets tests up."""

import django
import django.test.utils
from django.core import mail

from tests.host.settings import *  # noqa: F403

_backend = "django.core.mail.backends.locmem.EmailBackend"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": _backend}}
else:
    EMAIL_BACKEND = _backend
mail.outbox = []
