"""The password of DATABASE_URL stays out of the errors of connections."""

import traceback

import pytest
import pytest_django
from django.db import OperationalError, connections
from django.db.backends.postgresql.base import DatabaseWrapper

from project.environment import Environment


def test_a_failed_connection_does_not_print_the_password(
    django_db_blocker: pytest_django.DjangoDbBlocker,
) -> None:
    url = "postgres://u:hunter2@127.0.0.1:1/n"
    database = connections["postgres"].settings_dict | Environment().db("UNSET_DATABASE_URL", default=url)
    with django_db_blocker.unblock(), pytest.raises(OperationalError) as error:
        DatabaseWrapper(database, "elsewhere").ensure_connection()
    assert "hunter2" not in "".join(traceback.format_exception(error.value))
