"""What workers answer to `celery inspect stats`, and so to flower: nothing of it is a password."""

from typing import Any

from celery.app.utils import filter_hidden_settings
from celery.utils.saferepr import saferepr
from celery.utils.serialization import jsonify
from celery.worker.control import Panel, inspect_command
from kombu.utils.url import maybe_sanitize_url

_celerys_stats = Panel.data["stats"]


@inspect_command()
def stats(state: Any, **_: Any) -> dict[str, Any]:
    """Request worker statistics/information."""
    answer: dict[str, Any] = _celerys_stats(state)
    if broker := answer.get("broker"):
        # Celery's has the passwords of the other sentinels' URLs and those in options, and no JSON form where
        # an option is an object.
        broker["alternates"] = [maybe_sanitize_url(url) for url in broker.get("alternates") or ()]
        answer["broker"] = jsonify(filter_hidden_settings(broker), unknown_type_filter=saferepr)
    return answer
