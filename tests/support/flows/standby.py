"""A PostgreSQL that follows another one by streaming replication."""

import os
from pathlib import Path

import psycopg

from devstack.postgres import Postgres
from devstack.process import wait_for


class Standby(Postgres):
    def __init__(self, directory: Path, primary: Postgres) -> None:
        super().__init__(directory)
        self._primary = primary

    def pause(self) -> None:
        """Let the standby fall behind from now on."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SELECT pg_wal_replay_pause()")
            paused = "SELECT pg_get_wal_replay_pause_state()"
            wait_for(lambda: connection.execute(paused).fetchone() == ("paused",), seconds=30, what="a pause")

    def _fill_data(self) -> None:
        primary = ("-h", "127.0.0.1", "-p", str(self._primary.port), "-U", "postgres")
        done = self._run("pg_basebackup", *primary, "-R", "-X", "stream", "-c", "fast")
        if done.returncode:
            raise RuntimeError(f"pg_basebackup failed: {done.stdout}")

    def _has_database(self) -> bool:
        try:
            return os.fsencode(self.data) in self._ask("SHOW data_directory")
        except OSError:
            return False
