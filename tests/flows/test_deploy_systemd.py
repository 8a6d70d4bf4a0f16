"""docs/deploy.md, "With systemd", and the files in project/systemd, without a running systemd.

Programs that need root or a running systemd are replaced. systemd's own programs read the units where the
machine has them, and each unit's command runs with the unit's environment.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from redis import Redis

from devstack.process import Process, wait_for
from devstack.valkey import find_program
from tests.support.documents import ROOT, block, commands
from tests.support.flows.databases import postgres_database
from tests.support.flows.machine import Machine, fill_in

UNITS = ROOT / "project" / "systemd"
DROP_IN = UNITS / "pipeline-.service.d" / "common.conf"
PROCESSES = ("web", "worker", "inbound", "mailer", "bulk", "beat", "flower")

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze: this machine has no systemd"
)

#: Values that a shell and systemd read alike if they stand in single quotes.
VALUES = (
    *(
        "plain",
        "with spaces ",
        'a "quoted" word',
        "$dollar",
        "half$way",
        "${brace}",
        "%h %% 100%",
        "# no comment",
    ),
    *("semi;colon", "back\\slash", "trailing\\", "`backtick`", "a=b", "süß", "!bang", "*", "~"),
)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with postgres_database(os.environ["TEST_DATABASE_URL"]) as url:
        machine = Machine(tmp_path, url)
        machine.clone()
        machine.use_environment_of_test()
        yield machine
        machine.close()


def entries(path: Path) -> dict[str, list[str]]:
    """Entries of a unit or a drop-in: names, each with its values. A line may go on after a backslash."""
    found: dict[str, list[str]] = {}
    for line in commands(path.read_text()):
        name, is_entry, value = line.partition("=")
        if is_entry:
            found.setdefault(name, []).append(value)
    return found


def command_of(unit: str) -> str:
    """The command of a unit, as a shell has it."""
    (command,) = entries(UNITS / f"{unit}.service")["ExecStart"]
    return command.replace("%%", "%")


@pytest.mark.quick
def test_the_commands_of_the_units_are_those_of_the_page() -> None:
    page = {
        one.replace(".venv/bin/", "/srv/pipeline/.venv/bin/")
        for one in commands(block("docs/deploy.md", "Without docker", 5))
    }
    units = {command_of(f"pipeline-{name}") for name in PROCESSES}
    assert {one for one in page if "valkey-server" not in one} == units


@pytest.mark.quick
def test_each_unit_is_named_on_the_page_and_can_be_enabled() -> None:
    (enabled,) = (
        one for one in commands(block("docs/deploy.md", "With systemd", 6)) if "enable pipeline-web" in one
    )
    assert enabled.split()[2:] == [f"pipeline-{name}" for name in PROCESSES]
    assert {path.stem for path in UNITS.glob("*.service")} == {"pipeline", *enabled.split()[2:]}
    for name in PROCESSES:
        assert entries(UNITS / f"pipeline-{name}.service")["WantedBy"] == ["pipeline.service"]


@pytest.mark.quick
@pytest.mark.parametrize("name", PROCESSES)
def test_a_unit_has_as_long_to_stop_as_in_compose(name: str) -> None:
    (seconds,) = entries(UNITS / f"pipeline-{name}.service")["TimeoutStopSec"]
    assert int(seconds) == {"worker": 75, "inbound": 75, "mailer": 130, "bulk": 130}.get(name, 15)


@pytest.mark.quick
def test_a_process_is_restarted_without_limit_and_has_no_rights() -> None:
    common = {name: values[-1] for name, values in entries(DROP_IN).items()}
    assert (common["Restart"], common["StartLimitIntervalSec"], common["KillMode"]) == (
        "always",
        "0",
        "mixed",
    )
    assert common["Requires"] == common["PartOf"] == common["After"] == "pipeline.service"
    assert (common["NoNewPrivileges"], common["ProtectSystem"], common["CapabilityBoundingSet"]) == (
        *("yes", "strict"),
        "",
    )
    assert "User" in common
    assert "WORKER_WATCHDOG=exit" in entries(DROP_IN)["Environment"]


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_units(machine: Machine) -> None:
    machine.add_program("systemctl", "#!/bin/sh\nexit 0\n")
    machine.shell(block("docs/deploy.md", "With systemd", 6))
    folder = machine.folder / "etc/systemd/system"
    for unit in folder.rglob("*"):
        if unit.is_file():
            unit.write_text(unit.read_text().replace("/srv/pipeline", str(machine.project)))
    done = subprocess.run(
        ["systemd-analyze", "verify", *sorted(folder.glob("*.service"))],
        env=machine.env | {"SYSTEMD_UNIT_PATH": f"{folder}:"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    # Units of the machine may have faults of their own.
    ours = [line for line in done.stdout.splitlines() if "pipeline" in line]
    assert not ours, ours


@pytest.mark.quick
@needs_systemd
@pytest.mark.parametrize("value", VALUES)
def test_systemd_and_a_shell_read_a_value_in_single_quotes_alike(value: str, tmp_path: Path) -> None:
    """os-release has the same parser as EnvironmentFile=: parse_env_file_internal of systemd's env-file.c."""
    file = tmp_path / "pipeline.env"
    file.write_text(f"# A comment\nVALUE='{value}'\n", encoding="utf-8")
    shell = subprocess.check_output(["/bin/sh", "-c", f'. {file}; printf %s "$VALUE"'], text=True)
    assert shell == value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    condition = f'ConditionOSRelease="VALUE={escaped}"'
    for expected, text in ((0, condition), (1, condition.replace("VALUE=", "VALUE=x"))):
        done = subprocess.run(
            ["systemd-analyze", "condition", text],
            env={**os.environ, "SYSTEMD_OS_RELEASE": str(file)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expected, done.stderr


@pytest.mark.quick
def test_the_shipped_environment_file_follows_its_own_rule() -> None:
    lines = [line.removeprefix("#") for line in (UNITS / "pipeline.env").read_text().splitlines()]
    values = [line for line in lines if re.match(r"[A-Z_]+=", line)]
    assert len(values) > 8
    assert not [line for line in values if not re.fullmatch(r"[A-Z_]+='[^']*'", line)]
    documented = (ROOT / "docs/settings.md").read_text() + "`FLOWER_BASIC_AUTH`"
    assert not [line for line in values if f"`{line.partition('=')[0]}`" not in documented]


def test_valkey_takes_the_lines_of_the_page(machine: Machine) -> None:
    port = machine.ports["6379"]
    configuration = machine.folder / "valkey.conf"
    configuration.write_text(f"port {port}\nbind 127.0.0.1\n{block('docs/deploy.md', 'With systemd', 3)}")
    log = machine.folder / "valkey.log"
    with (
        Process([find_program(), configuration], log=log, cwd=machine.folder) as valkey,
        closing(Redis(port=port, decode_responses=True)) as server,
    ):
        wait_for(
            lambda: "eady to accept connections" in valkey.output(),
            seconds=30,
            what="Valkey",
            unless_dead=valkey,
        )
        names = ("appendonly", "appendfsync", "save", "maxmemory", "maxmemory-policy")
        values = {name: server.config_get(name)[name] for name in names}
    assert list(values.values()) == ["yes", "always", "", str(2 * 2**30), "noeviction"]


@pytest.mark.timeout(600)  # the seven processes start one after the other
def test_the_page_with_systemd_up_to_seven_processes_from_their_units(machine: Machine) -> None:
    # The environment of this test has these packages. An index would give nothing else.
    machine.link_program("python3", "/bin/true")
    machine.shell(
        block("docs/deploy.md", "With systemd", 1), PIP_NO_INDEX="1", PIP_DISABLE_PIP_VERSION_CHECK="1"
    )
    installed = machine.folder / "etc/pipeline.env"
    assert installed.stat().st_mode & 0o777 == 0o640
    assert (machine.project / "static/admin").is_dir()

    asked = machine.folder / "asked"
    for program in ("createuser", "createdb"):
        machine.add_program(program, f'#!/bin/sh\necho {program} "$@" >>{asked}\n')
    machine.shell(block("docs/deploy.md", "With systemd", 2))
    assert asked.read_text().splitlines() == [
        "createuser --pwprompt pipeline",
        "createdb --owner pipeline pipeline",
    ]

    key = "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY"
    fill_in(installed, {name: value for name, value in machine.settings.items() if name != key})
    assert f"{key}=" in machine.shell(block("docs/deploy.md", "With systemd", 5))
    fill_in(installed, machine.settings)
    machine.shell(block("docs/deploy.md", "With systemd", 4))
    machine.shell(block("docs/deploy.md", "With systemd", 6))
    log = (machine.folder / "systemctl.log").read_text().splitlines()
    assert [line.split()[0] for line in log] == ["daemon-reload", "enable", "enable"]

    units = machine.folder / "etc/systemd/system"
    env = environment_of(units / "pipeline-.service.d" / "common.conf", machine)
    assert machine.settings.items() <= env.items()
    assert env["WORKER_WATCHDOG"] == "exit"
    (check,) = entries(units / "pipeline.service")["ExecStart"]
    machine.shell(check, **env)
    machine.start(
        "valkey", f"valkey-server --port {machine.ports['6379']}", {}, machine.folder / "var/lib/valkey"
    )
    for name in PROCESSES:
        machine.start(name, command_of(f"pipeline-{name}"), env)
    machine.check_all_answer(env)

    # A new version while everything runs.
    machine.add_program("git", "#!/bin/sh\nexit 0\n")
    machine.shell(
        block("docs/deploy.md", "With systemd", 7), PIP_NO_INDEX="1", PIP_DISABLE_PIP_VERSION_CHECK="1"
    )
    assert (machine.folder / "systemctl.log").read_text().splitlines()[-1] == "restart pipeline"
    for name in PROCESSES:
        os.kill(machine.processes[name].pid, 15)
    for name in PROCESSES:
        (seconds,) = entries(units / f"pipeline-{name}.service")["TimeoutStopSec"]
        process = machine.processes[name]
        assert process.wait(int(seconds)) == 0, f"{name}: {process.output()[-2000:]}"


def test_an_error_of_the_settings_ends_the_check_with_what_to_do(machine: Machine) -> None:
    installed = machine.folder / "etc/pipeline.env"
    shutil.copy(UNITS / "pipeline.env", installed)
    fill_in(installed, {**machine.settings, "DEDUPE_BY": "nothing"})
    with pytest.raises(AssertionError, match="DEDUPE_BY"):
        machine.shell(block("docs/deploy.md", "With systemd", 4))


def environment_of(drop_in: Path, machine: Machine) -> dict[str, str]:
    """The environment that systemd gives the processes: first Environment=, then EnvironmentFile=."""
    found = dict(one.split("=", 1) for one in entries(drop_in)["Environment"])
    (file,) = entries(drop_in)["EnvironmentFile"]
    lines = Path(machine.mapped(file)).read_text().splitlines()
    return found | {
        name: value[1:-1]
        for name, is_set, value in (line.partition("=") for line in lines)
        if is_set and name[0] != "#"
    }
