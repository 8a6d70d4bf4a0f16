"""Each test starts without answers of other tests."""

from collections.abc import Callable, Iterator

import pytest

from overview_app import admin
from sending_app.monitoring import suppressions


@pytest.fixture(autouse=True)
def fresh(anymail: Callable[..., None]) -> Iterator[None]:
    anymail(SENDGRID_API_KEY="SG.fake")
    _forget()
    yield
    _forget()


def _forget() -> None:
    admin.readings.forget()
    suppressions.latest.forget()
    for latest in admin.charts.values():
        latest.forget()
