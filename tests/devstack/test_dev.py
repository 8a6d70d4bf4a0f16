"""`./dev` finds a Python, makes its environment once and completely, and reports errors in one sentence."""

import ast
import fcntl
import json
import os
import shutil
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from devstack.__main__ import COMMANDS
from devstack.process import Process, wait_for

DEV = Path(__file__).parents[2] / "dev"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def run(*args: str, dev: Path = DEV, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "DEV_PYTHON"} | env
    return subprocess.run(
        [sys.executable, dev, *args], env=clean, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture
def script() -> ModuleType:
    spec = spec_from_loader("dev", SourceFileLoader("dev", str(DEV)))
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"], ["help"]])
def test_help_names_each_command(args: list[str]) -> None:
    done = run(*args)
    assert done.returncode == 0
    for command in COMMANDS:
        assert f"\n  {command} " in done.stdout


def test_help_has_lines_of_less_than_80_columns() -> None:
    assert max(map(len, run("--help").stdout.splitlines())) < 80


def test_dev_has_the_commands_of_the_devstack(script: ModuleType) -> None:
    assert list(script.COMMANDS) == list(COMMANDS)


def test_an_unknown_command_is_an_error() -> None:
    done = run("tset")
    assert done.returncode == 2
    assert done.stderr == "dev: there is no command 'tset'; ./dev --help lists them.\n"


@pytest.mark.parametrize("wanted", ["3.77", "3.11.777", "/no/such/python", "/bin/false"])
def test_an_unknown_python_is_an_error(wanted: str) -> None:
    for done in (run("--python", wanted, "check"), run("check", DEV_PYTHON=wanted)):
        assert done.returncode == 1
        assert done.stderr.startswith(f"dev: found no Python {wanted} that runs;")
        assert done.stderr.count("\n") == 1


def test_the_python_option_requires_a_value() -> None:
    assert run("check", "--python").stderr.startswith("dev: --python needs a version or a path")


def fake_python(path: Path, version: str) -> Path:
    """A program that answers the probe like a Python of that version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version.replace('.', ' ')} {path}\n")
    path.chmod(0o755)
    return path


def test_a_python_that_is_too_old_is_an_error(tmp_path: Path) -> None:
    old = fake_python(tmp_path / "python3.6", "3.6.15")
    done = run("--python", str(old), "check")
    assert done.returncode == 1
    assert done.stderr == f"dev: {old} is Python 3.6.15; 3.11 or newer is needed.\n"


def test_the_script_parses_on_an_old_python() -> None:
    ast.parse(DEV.read_text(), feature_version=(3, 6))


@pytest.fixture
def machine(tmp_path: Path, script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose only Python is the old one that runs the script."""
    monkeypatch.setattr(sys, "executable", str(fake_python(tmp_path / "bin/python3", "3.9.2")))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    return tmp_path


def test_without_a_new_enough_python_dev_exits(script: ModuleType, machine: Path) -> None:
    with pytest.raises(SystemExit, match=r"^dev: found no Python 3\.11 or newer; install one"):
        script.find()


def test_the_newest_python_is_used(script: ModuleType, machine: Path) -> None:
    fake_python(machine / "bin/python3.11", "3.11.9")
    assert script.find()[1] == (3, 11, 9)
    newest = fake_python(machine / "pyenv/versions/3.13.1/bin/python", "3.13.1")
    fake_python(machine / "bin/python3.12", "3.12.4")
    assert script.find() == (str(newest), (3, 13, 1))
    assert script.find("3.12")[1] == (3, 12, 4)
    assert script.find("3")[1] == (3, 13, 1)


def test_pythons_that_do_not_run_or_have_no_wheels_are_skipped(script: ModuleType, machine: Path) -> None:
    fake_python(machine / "bin/python3.11", "3.11.9")
    fake_python(machine / "pyenv/versions/3.14t/bin/python", "3.14.0")
    shim = fake_python(machine / "bin/python3.14", "3.14.0")
    shim.write_text("#!/bin/sh\necho no such version >&2\nexit 127\n")
    assert script.find()[1] == (3, 11, 9)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A copy of `dev` with an empty lock, and a `devstack` that prints how it was called."""
    for folder in ("requirements", "devstack"):
        (tmp_path / "repo" / folder).mkdir(parents=True)
    dev = Path(shutil.copy(DEV, tmp_path / "repo" / "dev"))
    for lock in ("dev", "docs"):
        (dev.parent / f"requirements/{lock}.lock").touch()
    (dev.parent / "devstack/__main__.py").write_text(
        "import json, os, sys\n"
        "print(json.dumps([sys.argv[1:], os.getcwd(), os.environ['PYTHONPATH'], sys.prefix]))"
    )
    return dev.parent


def test_the_environment_is_set_up_once(repo: Path) -> None:
    first = run("--python", sys.executable, "test", "-k", "a b", dev=repo / "dev", PYTHONPATH="/elsewhere")
    assert first.stderr.splitlines()[0] == f"dev: setting up .venv/{VERSION} (once, about a minute) ..."
    answer: list[Any] = json.loads(first.stdout)
    assert answer == [["test", "-k", "a b"], str(repo), str(repo), str(repo / ".venv" / VERSION)]
    second = run("test", f"--python={sys.executable}", dev=repo / "dev")
    assert (second.returncode, second.stderr) == (0, "")

    # As a run that was killed leaves it: no stamp, and who knows what else.
    (repo / ".venv" / VERSION / "stamp").unlink()
    (repo / ".venv" / VERSION / "half").touch()
    third = run("--python", sys.executable, "test", dev=repo / "dev")
    assert "setting up" in third.stderr
    assert not (repo / ".venv" / VERSION / "half").exists()

    (repo / "requirements/dev.lock").write_text("# another lock\n")
    assert "setting up" in run("--python", sys.executable, "test", dev=repo / "dev").stderr


def test_the_documents_have_an_environment_of_their_own(repo: Path) -> None:
    (repo / "requirements/dev.lock").write_text("nonsense==1 --hash=sha256:" + "0" * 64)
    done = run("--python", sys.executable, "docs", dev=repo / "dev")
    assert done.stderr.splitlines()[0] == f"dev: setting up .venv/docs-{VERSION} (once, about a minute) ..."
    assert json.loads(done.stdout)[3] == str(repo / ".venv" / f"docs-{VERSION}")


def test_two_concurrent_runs_set_up_one_environment(repo: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(repo / "dev"), "--python", sys.executable, "test"]
    both = [Process(command, log=tmp_path / name) for name in ("one", "two")]
    assert [process.wait(300) for process in both] == [0, 0]
    assert sum(process.output().count("dev: setting up") for process in both) == 1


def test_a_second_concurrent_run_says_that_it_waits(repo: Path, tmp_path: Path) -> None:
    (repo / ".venv").mkdir()
    with (repo / ".venv" / f"{VERSION}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [sys.executable, str(repo / "dev"), "--python", sys.executable, "test"]
        process = Process(command, log=tmp_path / "log")
        wait_for(process.output, seconds=60, what="a word from the second", unless_dead=process)
        assert process.output() == f"dev: waiting for another ./dev that is setting up .venv/{VERSION} ...\n"
    assert process.wait(300) == 0


UV = """#!/bin/sh
echo "$1" >> "{log}"
[ "$1" = venv ] && exec "{python}" -m venv --without-pip "$4"
exit {status}
"""


PIP = "Collecting amqp==5.4.2 (from -r /a/long/path/requirements/dev.lock (line 1))\nInstalling collected "
PIP += "packages: amqp, asgiref\n    Successfully uninstalled pip-24.2\nWARNING: a\nSuccess"


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ("", "starting"),
        ("Collec", "starting"),
        (PIP[:90], "Collecting amqp==5.4.2"),
        (PIP, "Installing collected packages"),
        (f"{'a' * 100}\n", "a" * 67),
    ],
)
def test_while_a_program_runs_its_last_line_is_shown(script: ModuleType, output: str, shown: str) -> None:
    assert script.progress(12.3, output.encode()) == f"dev:  12 s: {shown}"


def test_a_terminal_sees_the_progress_on_one_line(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    seconds = iter(range(100))
    monkeypatch.setattr(script.time, "monotonic", lambda: next(seconds))
    with subprocess.Popen(["echo", "Collecting amqp"], stdout=subprocess.PIPE) as echo:
        assert script.read(echo.stdout) == b"Collecting amqp\n"
    shown = capsys.readouterr().err
    assert f"\r{'dev:   1 s: Collecting amqp':<79}\r" in shown
    assert shown.endswith(f"\r{'':79}\r")
    assert "\n" not in shown


@pytest.mark.parametrize("status", [0, 1])
def test_uv_installs_where_the_machine_has_it_and_pip_where_uv_fails(
    repo: Path, tmp_path: Path, status: int
) -> None:
    uv = tmp_path / "bin/uv"
    uv.parent.mkdir()
    uv.write_text(UV.format(log=tmp_path / "log", python=sys.executable, status=status))
    uv.chmod(0o755)
    path = f"{uv.parent}:{os.environ['PATH']}"
    done = run("--python", sys.executable, "test", dev=repo / "dev", PATH=path)
    assert done.returncode == 0
    assert (tmp_path / "log").read_text() == "venv\npip\n"
    assert (repo / ".venv" / VERSION / "bin/pip").exists() == bool(status)


@pytest.mark.parametrize(("command", "lock"), [("test", "dev"), ("docs", "docs")])
def test_a_failed_installation_shows_the_output_of_pip(repo: Path, command: str, lock: str) -> None:
    (repo / f"requirements/{lock}.lock").write_text("nonsense==1 --hash=sha256:" + "0" * 64)
    done = run("--python", sys.executable, command, dev=repo / "dev", PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert done.returncode == 1
    assert "No matching distribution found for nonsense" in done.stderr
    assert done.stderr.endswith(
        f"dev: pip could not install requirements/{lock}.lock; its output is above.\n"
    )
    assert not list(repo.glob(".venv/*/stamp"))
