"""The facts about the settings of the installed apps."""

from collections.abc import Iterator

from events_app.shared.facts import Depth, Level, Reading, declare, source
from events_app.shared.setting import faults, registered

UNUSABLE_SETTINGS = declare("unusable_settings", "Settings with a value that cannot be used")


@source(Depth.READINESS)
def read_unusable_settings() -> Iterator[Reading]:
    """Count the unusable settings."""
    found = faults(registered.values())
    if not found:
        yield UNUSABLE_SETTINGS.read(0)
        return
    # Each fault begins with the place of the setting. The rest may quote the value.
    places = ", ".join(fault.partition(":")[0] for fault in found)
    yield UNUSABLE_SETTINGS.read(
        len(found),
        level=Level.ERROR,
        text=f"Unusable settings: {places}.",
        advice="Run manage.py check: it says what is wrong with each.",
    )
