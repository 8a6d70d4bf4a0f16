"""Whether this process runs a project's tests. Then nothing goes to Redis, a broker or SendGrid."""

import sys

from events_app.shared.setting import Setting, flag

EAGER_IN_TESTS = Setting(
    "EAGER_IN_TESTS",
    True,
    flag,
    meaning="In a test run, webhooks call the receivers before they answer, and `send()` keeps the "
    "request: [Testing your project](testing.md). `False`: tests use the servers of the settings. "
    "Without effect outside test runs.",
)


def is_eager() -> bool:
    """Whether webhooks and backends do the work of workers themselves: between Django's
    `setup_test_environment` and `teardown_test_environment`.

    Django's test runner and pytest-django call both. No setting turns this on.
    """
    # `setup_test_environment` keeps the settings that it replaces there (django/test/utils.py, 5.2 and 6.1).
    # Its other traces, such as `mail.outbox` and the locmem backend, also occur outside tests. A process
    # without tests has not imported the module.
    test_utils = sys.modules.get("django.test.utils")
    state = getattr(test_utils, "_TestState", None)
    return hasattr(state, "saved_data") and EAGER_IN_TESTS.get()
