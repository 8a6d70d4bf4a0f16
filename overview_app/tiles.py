"""The tiles: the figures of a part of the pipeline each. A tile without a reading says "unknown"."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from events_app.shared.admin.states import Tone
from events_app.shared.console.terminal import span
from events_app.shared.counters import Reason
from events_app.shared.facts import Fact, Level, Reading, Readings, Value, declared
from overview_app.links import probe_url, url_of
from overview_app.problems import TONES

#: Rows of a tile.
MOST = 6


class Row(NamedTuple):
    """A figure, with a link to the rows behind."""

    name: str
    figure: str
    tone: Tone | None = None
    url: str = ""
    #: A further link: its words, and its URL.
    action: tuple[str, str] | None = None


class Tile(NamedTuple):
    title: str
    rows: list[Row]
    note: str = ""


def tiles(readings: Iterable[Reading]) -> list[Tile]:
    """The tiles of the installed apps."""
    by_fact = Readings(readings)
    shown = [
        Tile(title, list(rows(by_fact)), note)
        for title, fact, rows, note in _TILES
        # The facts of an app that is not installed are not declared.
        if fact in declared
    ]
    is_known = not by_fact.faults()
    return [tile for tile in shown if tile.rows or not is_known]


def _of(readings: Readings, name: str) -> Mapping[tuple[str, ...], Reading]:
    fact: Fact | None = declared.get(name)
    return readings.of(fact) if fact else {}


def _tone(reading: Reading) -> Tone | None:
    return TONES[reading.level] if reading.level > Level.OK else None


def _number(value: Value) -> str:
    return f"{value:,}" if isinstance(value, int) else "unknown"


def _seconds(value: Value) -> str:
    return span(round(value)) if isinstance(value, int | float) else "unknown"


def _beat(readings: Readings) -> Iterator[Row]:
    for reading in _of(readings, "beat_tick_age_seconds").values():
        age = "never" if reading.value is None else f"{_seconds(reading.value)} ago"
        yield Row("Last tick", age, _tone(reading) or Tone.GOOD)


def _workers(readings: Readings) -> Iterator[Row]:
    for (queue,), reading in _of(readings, "workers").items():
        yield Row(queue, _number(reading.value) if reading.value else "none", _tone(reading) or Tone.GOOD)


def _backlog(readings: Readings) -> Iterator[Row]:
    for reading in _of(readings, "backlog_events").values():
        yield Row("Events in Redis", _number(reading.value), _tone(reading))
    for reading in _of(readings, "backlog_oldest_seconds").values():
        yield Row("The oldest waits for", _seconds(reading.value), _tone(reading))


def _deliveries(readings: Readings) -> Iterator[Row]:
    for (kind, state), reading in _of(readings, "deliveries").items():
        name = "dead letters" if state == "dead" else state
        noun = "Events" if kind == "events" else "Inbound mails"
        yield Row(f"{noun}, {name}", _number(reading.value), _tone(reading), url_of(reading.page))


#: As in the list of mails.
_STATE_NAMES = {"posting": "Sending", "rejected": "Suppressed"}


def _outbox(readings: Readings) -> Iterator[Row]:
    totals: Counter[str] = Counter()
    last: dict[str, Reading] = {}
    for (_, state), reading in _of(readings, "mails").items():
        totals[state] += reading.value if isinstance(reading.value, int) else 0
        if state not in last or reading.level >= last[state].level:
            last[state] = reading
    for state, reading in last.items():
        tone = Tone.WARN if state == "failed" and totals[state] else _tone(reading)
        name = _STATE_NAMES.get(state, state.capitalize())
        yield Row(name, _number(totals[state]), tone, url_of(reading.page))
    due = _of(readings, "mails_oldest_due_seconds").values()
    if late := [reading for reading in due if reading.value]:
        worst = max(late, key=lambda reading: (reading.level, str(reading.value)))
        yield Row("The oldest is due for", _seconds(worst.value), _tone(worst))


def _accounts(readings: Readings) -> Iterator[Row]:
    for (mailer,), reading in _of(readings, "account_paused").items():
        probe = probe_url(reading)
        yield Row(
            mailer,
            "paused" if reading.value else "works",
            _tone(reading) or Tone.GOOD,
            url_of(reading.page),
            ("Probe now", probe) if probe else None,
        )


def _silence(readings: Readings) -> Iterator[Row]:
    for (mailer,), reading in _of(readings, "mails_in_silence").items():
        figure = f"{_number(reading.value)} mails without" if reading.value else "no silence"
        yield Row(mailer, figure, _tone(reading) or Tone.GOOD, url_of(reading.page))


def _suppressed(readings: Readings) -> Iterator[Row]:
    for (reason,), reading in _of(readings, "suppressed_addresses").items():
        yield Row(reason.capitalize(), _number(reading.value), _tone(reading), url_of(reading.page))


def _dead_letters(readings: Readings) -> Iterator[Row]:
    counts = _of(readings, "dead_letter_errors")
    ranked = sorted(counts.items(), key=lambda pair: (-_int(pair[1].value), pair[0]))
    for (kind, receiver, error), reading in ranked[:MOST]:
        name = f"{receiver}: {error}" if receiver else f"{kind}: {error}"
        yield Row(name, _number(reading.value), Tone.WARN, url_of(reading.page))
    if not counts and _of(readings, "deliveries"):
        yield Row("Dead letters", "none", Tone.GOOD)


def _refused(readings: Readings) -> Iterator[Row]:
    counts: Counter[tuple[str, str]] = Counter()
    for (webhook, _, reason), reading in _of(readings, "webhook_posts_total").items():
        if reason != Reason.ACCEPTED:
            counts[webhook, reason] += _int(reading.value)
    for (webhook, reason), count in counts.most_common(MOST):
        yield Row(f"{webhook}: {_REASONS.get(reason, reason)}", _number(count), Tone.WARN)
    # A counter without labels has a reading whenever Redis answers.
    if not counts and _of(readings, "events_duplicate_total"):
        yield Row("Refused posts", "none", Tone.GOOD)


def _int(value: Value) -> int:
    return value if isinstance(value, int) else 0


#: Why a post was refused, in plain words.
_REASONS: Mapping[str, str] = {
    Reason.CREDENTIALS: "wrong password or signature",
    Reason.SETTINGS: "a setting is missing",
    Reason.MALFORMED: "unreadable",
    Reason.TOO_LARGE: "too large",
    Reason.CONNECTION: "the connection broke",
    Reason.REDIS: "Redis did not answer",
    Reason.FULL: "Redis was full",
    Reason.DATABASE: "the database did not answer",
    Reason.STORAGE: "the storage did not answer",
    Reason.ISSUER: "the issuer of tokens did not answer",
    Reason.SITE: "the site refused it",
    Reason.FAULT: "a fault of the program",
}

#: Title, a fact of the tile, its rows, and a note.
_TILES: tuple[tuple[str, str, Callable[[Readings], Iterator[Row]], str], ...] = (
    ("Beat", "beat_tick_age_seconds", _beat, ""),
    ("Workers", "workers", _workers, ""),
    ("Backlog", "backlog_events", _backlog, ""),
    ("Receivers", "deliveries", _deliveries, ""),
    ("Outbox", "mails", _outbox, ""),
    ("Accounts at SendGrid", "account_paused", _accounts, ""),
    ("Events come back", "mails_in_silence", _silence, ""),
    ("Suppressed addresses", "suppressed_addresses", _suppressed, ""),
    ("Dead letters", "dead_letter_errors", _dead_letters, "Of the newest 1,000, by receiver and error."),
    ("Refused posts", "webhook_posts_total", _refused, "Since counting began."),
)
