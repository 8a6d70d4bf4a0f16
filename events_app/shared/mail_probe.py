"""The probe of mail: a real mail, followed to its first event. The app that sends mail provides the probe."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

from events_app.shared.facts import Reading

#: Sends a mail to the address and follows it for so many seconds. Yields a reading for each step, and calls
#: the function with a line about the wait.
Probe: TypeAlias = Callable[[str, int, Callable[[str], object]], Iterator[Reading]]

#: None in a project that sends no mail.
probe: Probe | None = None
