"""A client of the admin."""

import pytest
from django.test import Client

from tests.support.operators import sign_in_superuser


@pytest.fixture
def root(client: Client) -> Client:
    """A client with all permissions."""
    sign_in_superuser(client)
    return client
