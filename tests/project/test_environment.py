"""Variables become values of settings, and a fault of a variable is a sentence without a secret."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from devstack.stack import BIN, PASSED_ON, ROOT
from project.environment import Environment, InvalidEnvironment
from tests.support import preloaded

env = Environment()

SECRET = "s3cr3t"


@pytest.fixture
def variable(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda text: monkeypatch.setenv("NAME", text)


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file that NAME_FILE names."""
    monkeypatch.setenv("NAME_FILE", str(tmp_path / "secret"))
    return tmp_path / "secret"


def fault(read: Callable[[], object]) -> str:
    with pytest.raises(InvalidEnvironment) as raised:
        read()
    assert isinstance(raised.value, ImproperlyConfigured)
    assert raised.value.code == f"{raised.value} docs/settings.md describes the variables."
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "read", "expected"),
    [
        ("yes", lambda: env.bool("NAME", default=False), True),
        ("Off", lambda: env.bool("NAME", default=True), False),
        ("0", lambda: env.int("NAME", default=7), 0),
        ("2.5", lambda: env.float("NAME", default=7.0), 2.5),
        (" a,b , ,c", lambda: env.list("NAME", default=[]), ["a", "b", "c"]),
        ("", lambda: env.list("NAME", default=[]), []),
        ("", lambda: env.str("NAME", default=""), ""),
        ("$HOME ", lambda: env.str("NAME"), "$HOME "),
    ],
)
def test_a_variable_is_read_as_the_type_of_its_setting(
    variable: Callable[[str], None], text: str, read: Callable[[], object], expected: object
) -> None:
    variable(text)
    assert read() == expected


@pytest.mark.parametrize("default", ["x", "", [], 7, None])
def test_a_variable_that_is_not_set_has_the_default(default: object) -> None:
    assert env.str("NAME", default=default) == default


@pytest.mark.parametrize(
    ("text", "read", "expected"),
    [
        ("abc", lambda: env.int("NAME", default=7), "NAME is 'abc'. It takes a whole number."),
        ("1.5", lambda: env.int("NAME", default=7), "NAME is '1.5'. It takes a whole number."),
        ("yess", lambda: env.bool("NAME", default=False), "NAME is 'yess'. It takes true or false."),
        ("30s", lambda: env.float("NAME", default=7.0), "NAME is '30s'. It takes a number."),
        ("nan", lambda: env.float("NAME", default=7.0), "NAME is 'nan'. It takes a number."),
        ("9" * 5000, lambda: env.int("NAME", default=7), f"NAME is '{'9' * 50}'. It takes a whole number."),
        ("", lambda: env.str("NAME"), "NAME is empty. Fill it in."),
        *(
            ("", read, f"NAME is empty. It takes {expected}. For the default, remove it.")
            for read, expected in (
                (lambda: env.int("NAME", default=0), "a whole number"),
                (lambda: env.bool("NAME", default=False), "true or false"),
                (lambda: env.str("NAME", default="x"), "a text"),
                (lambda: env.list("NAME", default=["x"]), "a list, separated by commas"),
            )
        ),
        ("caf\udce9", lambda: env.str("NAME"), "NAME is not UTF-8."),
    ],
)
def test_a_fault_names_the_variable_and_the_valid_values(
    variable: Callable[[str], None], text: str, read: Callable[[], object], expected: str
) -> None:
    variable(text)
    assert fault(read) == expected


def test_a_word_is_one_of_the_words_of_its_setting(variable: Callable[[str], None]) -> None:
    assert env.one_of("NAME", "line", "json", default="line") == "line"
    variable("json")
    assert env.one_of("NAME", "line", "json", default="line") == "json"
    variable("xml")
    assert (
        fault(lambda: env.one_of("NAME", "line", "json", default="line"))
        == "NAME has another value. It takes line, json."
    )


@pytest.mark.parametrize("read", [env.str, env.db])
def test_a_missing_variable_says_how_to_set_it(read: Callable[[str], object]) -> None:
    assert fault(lambda: read("NAME")) == "NAME is not set. Set NAME, or NAME_FILE to the path of a file."


# From files


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_is_read_from_a_file_without_its_line_end(file: Path, end: str) -> None:
    file.write_bytes(f"-----BEGIN\n {SECRET}\n-----END{end}".encode())
    assert env.str("NAME") == f"-----BEGIN\n {SECRET}\n-----END"
    file.write_bytes(f"a,{SECRET}{end}".encode())
    assert env.list("NAME", default=[]) == ["a", SECRET]


def test_a_byte_order_mark_of_a_file_is_not_part_of_the_secret(file: Path) -> None:
    file.write_text(SECRET, "utf-8-sig")
    assert env.str("NAME") == SECRET


def test_an_empty_variable_leaves_the_file_in_force(file: Path, variable: Callable[[str], None]) -> None:
    file.write_text(SECRET)
    variable("")
    assert env.str("NAME") == SECRET


def test_an_empty_name_of_a_file_counts_as_none(
    monkeypatch: pytest.MonkeyPatch, variable: Callable[[str], None]
) -> None:
    variable(SECRET)
    monkeypatch.setenv("NAME_FILE", "")
    assert env.str("NAME") == SECRET


def test_both_a_variable_and_a_file_are_a_fault(file: Path, variable: Callable[[str], None]) -> None:
    file.write_text(SECRET)
    variable(SECRET)
    assert fault(lambda: env.str("NAME", default="")) == "NAME and NAME_FILE are both set. Remove one."


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda file: None, "No such file or directory"),
        (Path.mkdir, "Is a directory"),
        (lambda file: file.write_bytes(b"s3cr3t\xff"), "it is not UTF-8"),
    ],
)
def test_an_unreadable_file_is_a_fault_that_names_the_file(
    file: Path, make: Callable[[Path], object], why: str
) -> None:
    make(file)
    found = fault(lambda: env.str("NAME", default=""))
    assert found == f"NAME_FILE names the file '{file}', which cannot be read: {why}."


def test_a_secret_in_place_of_the_path_of_its_file_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME_FILE", SECRET)
    assert fault(lambda: env.str("NAME", default="")) == (
        "NAME_FILE names a file by a relative path, which cannot be read: No such file or directory."
    )


def test_a_fault_never_has_the_content_of_a_file(file: Path) -> None:
    file.write_text(SECRET)
    assert fault(lambda: env.int("NAME", default=7)) == "NAME has another value. It takes a whole number."


# DATABASE_URL


def test_a_database_url_becomes_djangos_settings(variable: Callable[[str], None]) -> None:
    variable("postgres://user:p%2Fa%40%23@host:5433/name")
    found = env.db("NAME", default="sqlite:///x")
    assert (found["ENGINE"], found["PASSWORD"]) == ("django.db.backends.postgresql", "p/a@#")
    assert (found["HOST"], found["PORT"], found["NAME"]) == ("host", 5433, "name")


@pytest.mark.parametrize(
    "url",
    [
        f"postgres://user:{SECRET}/{SECRET}@host/name",
        f"postgres://user:{SECRET}@host:{SECRET}/name",
        f"postgress://user:{SECRET}@host/name",
        f"user:{SECRET}@host/name",
        f"sqlite://user:{SECRET}@db.sqlite3",
        f"postgres:user:{SECRET}@host/name",
        f"postgres://user:12/{SECRET}@host/name",
        f"postgres://user:{SECRET}/x@host/name",
        f"postgres://user:{SECRET}?x@host/name",
        f"postgres://user:{SECRET}@host:99999/name",
        SECRET,
    ],
)
def test_a_fault_of_a_database_url_has_no_password(variable: Callable[[str], None], url: str) -> None:
    variable(url)
    found = fault(lambda: env.db("NAME", default="sqlite:///x"))
    assert found.startswith(
        "NAME is not the URL of a database. Write postgres://user:password@host:5432/name"
    )
    assert SECRET not in found


# Programs

PROGRAMS = {
    "manage.py": (sys.executable, "manage.py", "check"),
    "celery": (BIN / "celery", "-A", "workers.app", "worker"),
    "beat": (BIN / "celery", "-A", "workers.app", "beat"),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_ends_with_the_sentence_and_without_a_traceback(program: str) -> None:
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {"PYTHONPATH": str(ROOT), "DJANGO_SECRET_KEY": "x", "EVENT_RETENTION_DAYS": "abc"}
    ended = preloaded.run([str(word) for word in PROGRAMS[program]], environment, ROOT)
    assert ended.returncode == 1
    assert ended.stderr == (
        "EVENT_RETENTION_DAYS is 'abc'. It takes a whole number. docs/settings.md describes the variables.\n"
    )


# The collector of traces


def read_collector() -> str:
    return env.collector("NAME", default="")


def test_the_url_of_a_collector_is_http(variable: Callable[[str], None]) -> None:
    assert read_collector() == ""
    variable("https://collector:4318")
    assert read_collector() == "https://collector:4318"
    variable(f"{SECRET}@collector:4317")
    assert fault(read_collector) == "NAME is not a URL such as http://collector:4318."


def test_a_collector_needs_the_packages_of_opentelemetry(
    variable: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    variable("https://collector:4318")
    assert fault(read_collector) == (
        "NAME is set, and OpenTelemetry is not installed. "
        "Install django-sendgrid-pipeline[opentelemetry], or remove the variable."
    )
