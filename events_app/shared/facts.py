"""The facts about the living system: each has a name, a value, a level, and advice.

Each app registers sources of facts. The metrics, the health URLs, the doctor and the status commands only
gather facts.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import cache
from typing import NamedTuple, TypeAlias

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, connections
from kombu.exceptions import OperationalError as BrokerError
from redis import RedisError
from redis.exceptions import NoPermissionError

from events_app.shared import redis_faults
from events_app.shared.database import lacks_migrations
from events_app.shared.deadline import DeadlineExceeded, Threads
from events_app.shared.eager import is_eager
from events_app.shared.log.floods import limited_logger

logger = limited_logger(__name__)


class Level(IntEnum):
    """How bad a reading is."""

    OK = 0
    ADVICE = 1
    WARNING = 2
    ERROR = 3

    @property
    def word(self) -> str:
        """The word for people and programs, such as "warning"."""
        return self.name.lower()


class Depth(IntEnum):
    """The cost of a source, by its most frequent reader."""

    #: A short question to a server: the health URL asks it every few seconds. Strangers may read its texts,
    #: so they hold no address, no host and no text of an error.
    READINESS = 1
    #: Counts: the metrics and the status commands ask for them.
    FIGURES = 2
    #: Questions to programs and services that take seconds: only the doctor asks them.
    EXAMINATION = 3


class FactKind(Enum):
    """The kind of a fact's value. Metrics show all kinds but texts."""

    TEXT = "text"
    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class Observations(NamedTuple):
    """The value of a histogram."""

    #: By upper bound: the number of observations up to this bound. The last bound is infinity.
    buckets: Mapping[float, int]
    #: The sum of all observations.
    total: float


Value: TypeAlias = int | float | str | Observations | None


@dataclass(frozen=True)
class Fact:
    """A fact of the system. Its name is unique, and the part of a metric's name after `sendgrid_`."""

    name: str
    #: What the value is, in one sentence without a full stop.
    meaning: str
    kind: FactKind = FactKind.GAUGE
    #: The names of the labels.
    labels: tuple[str, ...] = ()

    def read(
        self,
        value: Value,
        *labels: str,
        level: Level = Level.OK,
        text: str = "",
        advice: str = "",
        page: str = "",
    ) -> "Reading":
        """A reading of the fact. `labels` are the values of the labels, in their order."""
        if len(labels) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}, not {labels}")
        return Reading(self, value, labels, level, text, advice, page=page)


class Reading(NamedTuple):
    """The value of a fact at one moment."""

    fact: Fact
    value: Value
    labels: tuple[str, ...] = ()
    level: Level = Level.OK
    #: The state in one sentence of plain words, for people. Readings without a text are only numbers.
    text: str = ""
    #: What to do about the level.
    advice: str = ""
    #: The heading above the reading in a report, such as "Redis". `gather` sets the heading.
    subject: str = ""
    #: The admin page with the rows behind the reading: the name of its URL, its arguments after spaces, and
    #: a query, such as "admin:sending_app_mail_changelist?state=failed".
    page: str = ""

    def line(self) -> str:
        """The level, unless all is well, the state, and what to do."""
        level = "" if self.level == Level.OK else f"{self.level.name}: "
        return f"{level}{self.sentences}"

    @property
    def sentences(self) -> str:
        """The state, and what to do."""
        return f"{self.text} {self.advice}".rstrip()


class Readings:
    """Readings by their facts."""

    def __init__(self, readings: Iterable[Reading]) -> None:
        self._by_fact: dict[Fact, dict[tuple[str, ...], Reading]] = {}
        for reading in readings:
            self._by_fact.setdefault(reading.fact, {})[reading.labels] = reading

    def of(self, fact: Fact) -> Mapping[tuple[str, ...], Reading]:
        """The readings of a fact by their labels. Empty if its source could not be read."""
        return self._by_fact.get(fact, {})

    def value(self, fact: Fact, *labels: str) -> Value:
        """The value of a fact; None without a reading."""
        reading = self.of(fact).get(labels)
        return reading.value if reading else None

    def lines(self, *facts: Fact, least: Level = Level.OK) -> list[str]:
        """The lines of the readings that have a text and at least this level."""
        readings = (reading for fact in facts for reading in self.of(fact).values())
        return [reading.line() for reading in readings if reading.text and reading.level >= least]

    def faults(self) -> list[str]:
        """The sentences about servers that did not answer, and about sources that could not be read."""
        readings = (reading for fact in (ANSWERS, FAULTY) for reading in self.of(fact).values())
        return [reading.sentences for reading in readings if reading.level == Level.ERROR]


@dataclass(frozen=True)
class Server:
    """A server that sources ask."""

    #: As the subject of a sentence: "Redis", "The database".
    name: str
    #: What to do when the server does not answer.
    advice: str


REDIS = Server("Redis", "Start it, and look at EVENT_REDIS_URL. Until then the webhook answers 503.")
DATABASE = Server("The database", "Start it, and look at DATABASES. Events wait in Redis until then.")

ANSWERS = Fact("server_answers", "Whether the server answers: 1 or 0", labels=("server",))
FAULTY = Fact("source_failed", "Facts that could not be gathered", FactKind.TEXT, labels=("source",))

#: The declared facts, by name.
declared: dict[str, Fact] = {}

_Read: TypeAlias = Callable[[], Iterable[Reading]]


class _Source(NamedTuple):
    name: str
    depth: Depth
    server: Server | None
    read: _Read
    subject: str


_sources: dict[str, _Source] = {}


def declare(name: str, meaning: str, kind: FactKind = FactKind.GAUGE, labels: Sequence[str] = ()) -> Fact:
    """Declare a fact. Raises ValueError if another fact has its name."""
    fact = Fact(name, meaning, kind, tuple(labels))
    if declared.setdefault(name, fact) != fact:
        raise ValueError(f"Two facts have the name {name}.")
    return fact


def source(depth: Depth, server: Server | None = None, subject: str = "") -> Callable[[_Read], _Read]:
    """A decorator: register a function that reads facts, from `server` if the function asks a server.

    The default of `subject` is the name of the function's module.
    """

    def register(read: _Read) -> _Read:
        name = f"{read.__module__}.{read.__qualname__}"
        heading = subject or read.__module__.rpartition(".")[2].replace("_", " ").capitalize()
        _sources[name] = _Source(name, depth, server, read, heading)
        return read

    return register


def gather(
    depth: Depth, package: str = "", seconds: float | None = None, order: Sequence[str] = ()
) -> Iterator[Reading]:
    """Read the facts of all sources up to this depth, the cheapest first.

    With a `package`, only the sources of this package are read. With `seconds`, a source has as many, and the
    sources run in threads of their own; without, a frozen server holds the caller up as long as its client
    waits. With `order`, the facts come by subject: first these subjects, then the others.

    A server that does not answer is asked only once: a second question would wait as long again. Raises no
    error of a source: its reading is `FAULTY`, or `ANSWERS` with 0.
    """
    answers: dict[Server, bool] = {}
    for source in _sorted(order):
        if source.depth > depth or not f"{source.name}.".startswith(f"{package}." if package else ""):
            continue
        if source.server is None or answers.get(source.server, True):
            for reading in _ask(source, seconds, answers):
                yield reading._replace(subject=source.subject)
    for server, answered in answers.items():
        if answered:
            yield ANSWERS.read(1, server.name, text=f"{server.name} answers.")


def _sorted(order: Sequence[str]) -> list[_Source]:
    if not order:
        return sorted(_sources.values(), key=lambda source: source.depth)
    places = {subject: place for place, subject in enumerate(order)}
    for source in _sources.values():
        places.setdefault(source.subject, len(places))
    return sorted(_sources.values(), key=lambda source: (places[source.subject], source.depth))


def _ask(source: _Source, seconds: float | None, answers: dict[Server, bool]) -> list[Reading]:
    """The readings of a source, or its failure. Record in `answers` whether its server answers."""
    server = source.server
    try:
        # A test run gathers in the thread of the test, whose connection has the transaction of the test.
        readings = list(source.read()) if seconds is None or is_eager() else _within(seconds, source)
    except Exception as error:  # noqa: BLE001 (a fault in one source must not hide the others)
        if server and isinstance(error, NoPermissionError):
            answers[server] = True
            return [_forbidden(source.name, server, error)]
        is_setting = isinstance(error, ImproperlyConfigured) and server in answers
        if server and isinstance(error, _UNAVAILABLE) and not is_setting:
            answers[server] = False
            return [_unavailable(server, error)]
        return [_failed(source.name, error)]
    if server:
        answers[server] = True
    return readings


#: Errors of a server, of its address in the settings, and of the way to it.
_UNAVAILABLE = (
    *(RedisError, DatabaseError, InterfaceError, BrokerError, OSError),
    *(ImproperlyConfigured, DeadlineExceeded),
)

#: Questions to a server that may hang at once. With more, further questions fail until one returns.
_MOST_LATE = 4


# For each server: a frozen database must not keep Redis from being asked.
@cache
def _threads(server: Server | None) -> Threads:
    return Threads(f"facts of {server.name if server else 'the program'}", _MOST_LATE)


def _within(seconds: float, source: _Source) -> list[Reading]:
    def read_and_close() -> list[Reading]:
        try:
            return list(source.read())
        finally:
            connections.close_all()  # those of this thread

    try:
        return _threads(source.server).run(read_and_close, seconds)
    except DeadlineExceeded:
        raise DeadlineExceeded(f"no answer within {seconds:g} s") from None


def _unavailable(server: Server, error: Exception) -> Reading:
    text = f"{server.name} cannot be asked: {_describe(error).rstrip('.')}."
    advice = "Run manage.py migrate." if lacks_migrations(error) else server.advice
    return ANSWERS.read(0, server.name, level=Level.ERROR, text=text, advice=advice)


def _forbidden(name: str, server: Server, error: Exception) -> Reading:
    # It answers, and posts may go on.
    text = f"{server.name} refuses a question: {redis_faults.describe(error)}."
    advice = "Allow the command to the user of the URL. docs/redis.md has all that are needed."
    return FAULTY.read(None, name, level=Level.ERROR, text=text, advice=advice)


def _describe(error: Exception) -> str:
    if isinstance(error, DeadlineExceeded):
        return str(error)
    if isinstance(error, BrokerError | OSError):  # kombu's own text may have the password of the URL
        return redis_faults.advice(error) or redis_faults.system_error(error) or type(error).__name__
    return redis_faults.describe(error)


def _failed(name: str, error: Exception) -> Reading:
    if isinstance(error, ImproperlyConfigured):
        text, advice = f"A setting is unusable: {error}.", "manage.py check names all such settings."
    else:
        logger.error("The facts of %s could not be read", name, exc_info=error)
        # Without the error's own text, which may quote a value.
        text = f"{name} could not be read: {type(error).__name__}."
        advice = "This is a fault of the program. Report it with the traceback in the log."
    return FAULTY.read(None, name, level=Level.ERROR, text=text, advice=advice)
