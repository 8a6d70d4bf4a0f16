"""What is said in several places is said alike, and the house is as it was drawn."""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from kombu import Queue

from devstack import settings_tables
from devstack import stack as devstack_stack
from events_app import conf
from events_app.dispatch import leases
from sending_app import exceptions
from sending_app import tasks as sending_tasks
from tests.support.flows.reverse_proxy import CONFIGURATION
from workers import app as workers_app

ROOT = Path(__file__).parents[1]
PRODUCT = ("events_app", "sending_app", "overview_app", "workers", "project")
PACKAGES = (*PRODUCT, "example_app", "fake_sendgrid", "devstack", "tests")

#: What stands at the top.
NAMES = (
    *("dev", "manage.py", "pyproject.toml", "docker-compose.yml", "Dockerfile", "LICENSE"),
    *(
        "requirements/run.lock",
        "requirements/dev.lock",
        "requirements/docs.lock",
        "project",
        "events_app",
        "sending_app",
    ),
    *("workers", "tests", "fake_sendgrid", "README.md", "CHANGELOG.md", ".ci/run"),
    *("CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", ".github/PULL_REQUEST_TEMPLATE.md"),
)

#: Public modules that export their names in `__all__`.
EXPORTING = (
    *("events_app.signals", "events_app.inbound.message", "events_app.views", "events_app.testing"),
    *("sending_app.message", "sending_app.signals", "sending_app.exceptions", "sending_app.timeline"),
    "sending_app.testing",
)

#: The modules of each app with hand-written SQL. Expressions of the ORM may stand elsewhere.
SQL_MODULES = {
    "events_app": {"events_app/sql.py", "events_app/shared/database.py", "events_app/shared/search.py"},
    "sending_app": {"sending_app/sql.py"},
}

#: Names that say nothing of what is in a module.
VAGUE = {"utils", "helpers", "services", "constants", "types"}

Service = dict[str, Any]


def read(path: str) -> str:
    return (ROOT / path).read_text()


PROJECT: dict[str, Any] = tomllib.loads(read("pyproject.toml"))["project"]
COMPOSE: dict[str, Any] = yaml.safe_load(read("docker-compose.yml"))
SERVICES: dict[str, Service] = COMPOSE["services"]
WORKERS = ("worker", "inbound", "mailer", "bulk")
LONG_RUNNING = sorted(SERVICES.keys() - {"migrate"})


def modules(*packages: str) -> Iterator[Path]:
    for package in packages:
        yield from sorted((ROOT / package).rglob("*.py"))


def option(command: list[str], name: str) -> str:
    """The value of `--name value` or `--name=value`."""
    for at, word in enumerate(command):
        if word == name:
            return command[at + 1]
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    raise AssertionError(f"{name} is not in {command}")


def by_default(value: str) -> str:
    """What compose makes of it when no variable is set."""
    return re.sub(r"\$\{\w+:-([^}]*)}", r"\1", value)


def environment_read(path: str) -> set[str]:
    """Names of the variables that a settings module reads: `env.str("NAME")`, `env.db("NAME")`."""
    calls = (node for node in ast.walk(ast.parse(read(path))) if isinstance(node, ast.Call))
    return {
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "env"
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    }


# --- Queues ---


def test_each_queue_named_by_a_task_is_declared() -> None:
    app = workers_app.app
    app.autodiscover_tasks(force=True)
    queues = {getattr(task, "queue", None) for task in app.tasks.values()}
    named = queues - {None}  # Celery's own tasks name none
    assert named == set(workers_app.QUEUES)


def test_the_worker_declares_the_queues() -> None:
    queues: list[Queue] = workers_app.app.conf.task_queues
    assert [queue.name for queue in queues] == list(workers_app.QUEUES)


def test_each_queue_has_a_compose_worker() -> None:
    served = {name: option(SERVICES[name]["command"], "-Q").split(",") for name in WORKERS}
    assert served["worker"] == list(workers_app.EVENT_QUEUES)
    assert served["inbound"] == list(workers_app.INBOUND_QUEUES)
    assert served["mailer"] + served["bulk"] == list(workers_app.MAIL_QUEUES)


@pytest.mark.parametrize("name", ["mailer", "bulk"])
def test_mail_workers_use_the_threads_pool(name: str) -> None:
    assert option(SERVICES[name]["command"], "--pool") == "threads"


def test_the_devstack_has_the_same_queues() -> None:
    assert devstack_stack.EVENT_QUEUES == workers_app.EVENT_QUEUES
    assert devstack_stack.INBOUND_QUEUES == workers_app.INBOUND_QUEUES
    assert devstack_stack.MAIL_QUEUES == workers_app.MAIL_QUEUES


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of the processes that the devstack starts. None of them runs."""
    commands: list[list[str]] = []

    class Started:
        alive = True

        def __init__(self, args: list[str | Path], log: Path, **_: object) -> None:
            commands.append([str(word) for word in args])
            log.write_text("worker@here ready.")

    monkeypatch.setattr(devstack_stack, "Process", Started)
    monkeypatch.setattr(devstack_stack, "is_listening", lambda _: True)
    return commands


def test_the_worker_of_the_devstack_serves_all_queues(started: list[list[str]], tmp_path: Path) -> None:
    devstack_stack.Stack(tmp_path, {}).worker()
    assert option(started[0], "-Q").split(",") == list(workers_app.QUEUES)


# --- Flower ---


def celery_commands(program: str) -> list[list[str]]:
    """The commands of `celery worker` or `celery flower` in compose, docs/deploy.md and systemd's units."""
    of_compose = [
        service["command"] for service in SERVICES.values() if program in service.get("command", ())
    ]
    units = [unit.read_text() for unit in sorted((ROOT / "project" / "systemd").glob("*.service"))]
    pattern = rf"bin/celery -A workers\.app {program}(?:[^\n]*\\\n)*[^\n]*"
    written = [re.findall(pattern, text) for text in (read("docs/deploy.md"), "".join(units))]
    assert all([of_compose, *written])
    lines = [line for lines in written for line in lines]
    return of_compose + [shlex.split(line.replace("\\\n", " ")) for line in lines]


def test_only_workers_that_send_mail_report_their_tasks(started: list[list[str]], tmp_path: Path) -> None:
    devstack_stack.Stack(tmp_path, {}).inbound()
    devstack_stack.Stack(tmp_path, {}).mailer()
    for command in celery_commands("worker") + started:
        sends_mail = set(option(command, "-Q").split(",")) <= set(workers_app.MAIL_QUEUES)
        assert ("--task-events" in command) == sends_mail, command


def test_flower_has_its_options_from_one_file(started: list[list[str]], tmp_path: Path) -> None:
    devstack_stack.Stack(tmp_path, {}).flower("admin", "password")
    for command in celery_commands("flower") + started:
        options = {word.partition("=")[0] for word in command if word.startswith("--")}
        assert options == {"--conf", "--address", "--port"}
        assert option(command, "--conf") == "workers/flowerconfig.py"


# --- docker-compose.yml ---


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_a_service_is_restarted_when_it_ends(name: str) -> None:
    assert SERVICES[name]["restart"] in ("unless-stopped", "always")


@pytest.mark.parametrize("name", sorted(set(LONG_RUNNING) - {"beat"}))
def test_each_service_has_a_healthcheck(name: str) -> None:
    if name == "web":
        assert "HEALTHCHECK" in read("Dockerfile")
        assert "healthcheck" not in SERVICES["web"]
        assert "command" not in SERVICES["web"]
    else:
        assert SERVICES[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")


@pytest.mark.parametrize("path", ["Dockerfile", "docs/deploy.md"])
def test_the_web_command_line_equals_the_one_of_the_tests(path: str) -> None:
    (found,) = re.findall(r"granian\W+--interface(?:[^\n]*\\\n)+[^\n]*", read(path))
    words = re.findall(r"[\w.:-]+", found.replace("\\\n", " "))
    assert words[0] == "granian"
    assert tuple(words[words.index("--no-ws") :]) == devstack_stack.WEB_OPTIONS


@pytest.mark.parametrize("name", ["beat", "migrate"])
def test_services_without_pages_disable_the_healthcheck_of_the_image(name: str) -> None:
    assert SERVICES[name]["healthcheck"] == {"disable": True}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_each_service_waits_for_healthy_dependencies(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        one_off = SERVICES[other]["restart"] == "no"
        assert how["condition"] == ("service_completed_successfully" if one_off else "service_healthy")


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_each_service_is_read_only_and_without_new_privileges(name: str) -> None:
    assert SERVICES[name]["read_only"] is True
    assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize(
    ("name", "longest"),
    [
        ("worker", leases.hard_limit()),
        ("inbound", leases.hard_limit()),
        ("mailer", sending_tasks.sending_hard_limit()),
        ("bulk", sending_tasks.sending_hard_limit()),
    ],
)
def test_the_stop_grace_period_exceeds_the_hard_time_limit(name: str, longest: int) -> None:
    grace = re.fullmatch(r"(\d+)s", by_default(SERVICES[name]["stop_grace_period"]))
    assert grace
    assert int(grace[1]) > longest


def test_published_ports_are_bound_to_localhost() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(ports) == {"proxy", "flower"}
    assert by_default(ports["proxy"][0]) == "127.0.0.1:8000:8000"
    assert ports["flower"][0].startswith("127.0.0.1:")


def test_the_proxy_uses_the_tested_configuration() -> None:
    (volume,) = SERVICES["proxy"]["volumes"]
    source, target, mode = volume.split(":")
    assert (ROOT / source).resolve() == CONFIGURATION
    assert option(SERVICES["proxy"]["command"], "-c") == target
    assert mode == "ro"


def test_body_limits_of_the_proxy_exceed_those_of_the_webhooks() -> None:
    limits = [
        int(size) * 2**20 for size in re.findall(r"client_max_body_size (\d+)m;", CONFIGURATION.read_text())
    ]
    assert len(limits) == 2
    assert limits[0] > conf.BODY_LIMIT.default
    assert limits[1] > conf.INBOUND_LIMIT.default


def test_flower_requires_a_password() -> None:
    assert ":${FLOWER_PASSWORD:?" in SERVICES["flower"]["environment"]["FLOWER_BASIC_AUTH"]


def test_valkey_is_durable_and_never_evicts() -> None:
    command = SERVICES["valkey"]["command"]
    assert option(command, "--appendonly") == "yes"
    assert option(command, "--appendfsync") == "always"
    assert option(command, "--maxmemory-policy") == "noeviction"
    assert by_default(option(command, "--maxmemory")) != "0"
    assert SERVICES["valkey"]["volumes"] == ["valkey:/data"]


def test_web_and_inbound_share_the_folder_of_inbound_mail() -> None:
    users = [name for name in SERVICES if "inbound:/inbound" in SERVICES[name].get("volumes", ())]
    assert users == ["migrate", "web", "inbound"]
    assert "inbound" in COMPOSE["volumes"]
    assert SERVICES["web"].get("user") == SERVICES["inbound"].get("user")
    assert re.search(r"-o 10001 .* /inbound /inbound/incoming\n(?s:.*)\nUSER 10001:", read("Dockerfile"))
    assert "#INBOUND_FOLDER=/inbound\n" in read(".env.example")


def test_every_variable_of_the_settings_can_be_set_through_compose() -> None:
    for name in ("web", *WORKERS, "beat", "flower", "migrate"):
        assert environment_read("project/settings.py") <= SERVICES[name]["environment"].keys()


def test_the_env_example_has_every_variable_of_compose() -> None:
    text = read("docker-compose.yml")
    asked = set(re.findall(r"(?<!\$)\$\{(\w+)", text))
    for service in SERVICES.values():
        asked |= {name for name, value in service.get("environment", {}).items() if value is None}
    known = set(re.findall(r"^#?([A-Z_]+)=", read(".env.example"), re.MULTILINE))
    assert asked == known


def test_a_required_variable_says_how_to_set_it() -> None:
    required = re.findall(r"\$\{(\w+):\?([^}]*)}", read("docker-compose.yml"))
    assert required
    assert not [name for name, how in required if ".env" not in how]


# --- Documents ---


def test_the_docs_have_the_settings_as_the_code_declares_them() -> None:
    page = read("docs/settings.md")
    assert settings_tables.with_tables(page) == page, "run ./dev settings"


def test_every_variable_of_the_environment_is_documented() -> None:
    text = read("docs/settings.md")
    names = environment_read("project/settings.py")
    assert "DJANGO_SECRET_KEY" in names
    of_compose = set(re.findall(r"^#?([A-Z_]+)=", read(".env.example"), re.MULTILINE))
    assert not [name for name in sorted(names | of_compose) if f"`{name}`" not in text]


def test_every_check_is_documented() -> None:
    pattern = r"(?:events|sending)_app\.[EW]\d{3}"
    apps = ("events_app/checks.py", "events_app/leftovers.py", "events_app/redis_checks.py")
    checks = (*apps, "sending_app/checks.py")
    ids = set(re.findall(pattern, "".join(map(read, checks))))
    assert len({one.partition(".")[0] for one in ids}) == 2
    assert ids == set(re.findall(pattern, read("docs/settings.md")))


def test_the_runbook_has_each_alert() -> None:
    alerts = re.findall(r"^ +- alert: (\w+)$", read("project/monitoring/alert-rules.yml"), re.MULTILINE)
    assert alerts
    listed = re.findall(r"^\| `(SendGrid\w+)` \|", read("docs/runbook.md"), re.MULTILINE)
    assert listed == alerts


def test_each_test_named_in_a_document_exists() -> None:
    named = [
        (path, name)
        for document in (ROOT / "docs").glob("*.md")
        for path, name in re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", document.read_text())
    ]
    assert named
    assert not [f"{path}::{name}" for path, name in named if f"def {name}(" not in read(path)]


def public_names() -> dict[str, set[str]]:
    """Names by module, from the table in docs/how-it-works.md."""
    _, _, section = read("docs/how-it-works.md").partition("\n## Public modules\n")
    rows = re.findall(r"^\| (`.*`) \| (`.*) \|$", section.partition("\n## ")[0], re.MULTILINE)
    return {
        module: set(re.findall(r"`(\w+)`", names))
        for cell, names in rows
        for module in re.findall(r"`([\w.]+)`", cell)
    }


@pytest.mark.parametrize(("module", "names"), public_names().items())
def test_each_public_name_in_the_docs_exists(module: str, names: set[str]) -> None:
    assert names
    assert names <= vars(import_module(module)).keys()


@pytest.mark.parametrize("module", EXPORTING)
def test_the_docs_have_the_exported_names(module: str) -> None:
    exported = import_module(module).__all__
    own_names = {name for name in exported if not name.startswith("Anymail")}
    assert own_names == public_names()[module]


@pytest.mark.parametrize(("module", "names"), public_names().items())
def test_the_api_reference_has_each_public_name(module: str, names: set[str]) -> None:
    described = set(re.findall(r"^ *\.\. auto\w+:: ([\w.]+)", read("docs/api.md"), re.MULTILINE))
    # A list of URL patterns has no docstring.
    assert {f"{module}.{name}" for name in names - {"urlpatterns"}} <= described


def test_every_error_of_sending_is_exported() -> None:
    names = vars(exceptions).items()
    defined = {name for name, item in names if getattr(item, "__module__", "") == exceptions.__name__}
    assert set(exceptions.__all__) == defined


@pytest.mark.parametrize("module", EXPORTING)
def test_each_name_of_anymail_is_exported_and_documented(module: str) -> None:
    anymail_names = {name for name in vars(import_module(module)) if name.startswith("Anymail")}
    assert anymail_names <= set(import_module(module).__all__)
    assert anymail_names <= set(re.findall(r"\bAnymail\w+", read("docs/anymail.md")))


# --- The package ---


def test_the_placeholder_for_the_host_of_the_repository_is_in_one_file() -> None:
    host = urlsplit(PROJECT["urls"]["Repository"]).hostname
    assert host
    assert host in PROJECT["authors"][0]["email"]
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    others = [*documents, ROOT / "Dockerfile", ROOT / "docker-compose.yml", *modules(*PACKAGES)]
    assert not [path for path in others if host in path.read_text()]


def test_every_url_of_the_package_begins_with_the_repository() -> None:
    links = read("pyproject.toml").partition("[tool.hatch.metadata.hooks")[2].partition("\n\n")[0]
    urls = [*PROJECT["urls"].values(), *re.findall(r"\]\((http[^\"]+)", links)]
    assert len(urls) > len(PROJECT["urls"])
    assert all(url.startswith(PROJECT["urls"]["Repository"]) for url in urls)


def test_the_classifiers_name_what_the_requirements_allow() -> None:
    named = "\n".join(PROJECT["classifiers"])
    assert f"Python :: {PROJECT['requires-python'].removeprefix('>=')}\n" in named
    (django,) = (line for line in PROJECT["dependencies"] if line.startswith("Django"))
    versions = re.findall(r"Django :: ([\d.]+)", named)
    assert django == f"Django>={versions[0]},<6.2"
    assert versions[-1] == "6.1"


def test_no_document_installs_the_package_from_an_index() -> None:
    """It is not published: an install line names the built wheel."""
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    lines = [line for path in documents for line in path.read_text().splitlines() if "pip install" in line]
    assert [line for line in lines if "dist/django_sendgrid_pipeline-" in line]
    assert not [line for line in lines if f"install {PROJECT['name']}" in line]


# --- The repository's host ---


def test_the_workflow_runs_what_has_to_pass_on_the_oldest_and_the_newest_python() -> None:
    steps = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]["everything"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    (pythons,) = (step["with"]["python-version"].split() for step in steps if "with" in step)
    versions = [name.rpartition(" ")[2] for name in PROJECT["classifiers"] if re.search(r"\d\.\d+$", name)]
    of_python = [version for version in versions if version.startswith("3.")]
    assert pythons == [of_python[0], of_python[-1]]


def test_each_action_of_the_workflow_has_a_version() -> None:
    used = re.findall(r"uses: (\S+)", read(".github/workflows/ci.yml"))
    assert used
    assert not [action for action in used if not re.search(r"@v\d+", action)]


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.name
)
def test_an_issue_form_has_fields_of_known_kinds(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    if path.stem == "config":
        assert form.keys() == {"blank_issues_enabled"}
    else:
        assert form.keys() == {"name", "description", "labels", "body"}
        assert {field["type"] for field in form["body"]} <= {"markdown", "textarea"}


# --- The house ---


@pytest.mark.parametrize("name", NAMES)
def test_required_files_exist_at_the_top_level(name: str) -> None:
    assert (ROOT / name).exists()


@pytest.mark.parametrize("lock", sorted((ROOT / "requirements").glob("*.lock")), ids=lambda lock: lock.name)
def test_a_lock_file_contains_hashes_and_no_url(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "--hash=sha256:" in text


def test_no_module_imports_a_test_module() -> None:
    """Helpers that two test modules need live in `tests/support`."""
    imports = {
        f"{node.module}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name
        for path in modules(*PACKAGES)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    test_modules = (name for name in imports if name.startswith("tests."))
    assert not [name for name in test_modules if re.search(r"\.(test_|conftest)", name)]


def test_module_names_are_not_vague() -> None:
    found = modules(*PACKAGES)
    assert not [path for path in found if {path.stem, *path.relative_to(ROOT).parts[:-1]} & VAGUE]


@pytest.mark.parametrize("app", SQL_MODULES)
def test_only_the_sql_modules_of_an_app_send_hand_written_sql(app: str) -> None:
    pattern = re.compile(r"\.(cursor|raw|extra)\(|\bRawSQL\(")
    sending = {str(path.relative_to(ROOT)) for path in modules(app) if pattern.search(path.read_text())}
    assert sending == SQL_MODULES[app]
