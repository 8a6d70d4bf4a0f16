"""A place for the events of the page, and the database of a test."""

import pytest

from events_app.shared import own_events
from tests.support.sending.unsubscribe_links import KeptEvents


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> KeptEvents:
    """The events that the page has kept. They suppress at once."""
    kept = KeptEvents()
    monkeypatch.setattr(own_events, "keep", kept, raising=False)
    return kept
