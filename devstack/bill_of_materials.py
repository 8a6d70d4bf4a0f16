"""Writes the software bill of materials: the locked packages of a deployment, as CycloneDX in JSON."""

import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from devstack.stack import ROOT

LOCK = ROOT / "requirements" / "run.lock"


def write(file: Path) -> int:
    """Write the bill of the packages that the lock installs on this platform; return their number."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    application = _component(project["name"], project["version"], ComponentType.APPLICATION)
    application.licenses.add(LicenseFactory().make_from_string(project["license"]))
    components = {
        canonicalize_name(pin.name): _installed(pin) for pin in locked(LOCK.read_text()) if _applies(pin)
    }
    bom = Bom(components=components.values())
    bom.metadata.component = application
    bom.register_dependency(application, components.values())
    for name, component in components.items():
        needed = (canonicalize_name(requirement.name) for requirement in _requirements(name))
        bom.register_dependency(component, [components[other] for other in needed if other in components])
    JsonV1Dot6(bom).output_to_file(str(file), allow_overwrite=True, indent=2)
    return len(components)


def locked(text: str) -> Iterator[Requirement]:
    """The pins of a lock file, with their markers."""
    for line in re.findall(r"^[\w.-]+==[^\\\n]+", text, re.MULTILINE):
        yield Requirement(line.strip())


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _installed(pin: Requirement) -> Component:
    """The component of a pin, with the license that the installed package declares.

    Raises RuntimeError if another version is installed: then the two locks disagree.
    """
    version = str(pin.specifier).removeprefix("==")
    if metadata.version(pin.name) != version:
        raise RuntimeError(f"{LOCK.name} has {pin}, and {metadata.version(pin.name)} is installed")
    component = _component(pin.name, version, ComponentType.LIBRARY)
    declared = metadata.metadata(pin.name)
    licenses = [declared[field] for field in ("License-Expression", "License") if field in declared]
    if licenses and "\n" not in licenses[0]:  # some packages declare the whole text
        component.licenses.add(LicenseFactory().make_from_string(licenses[0]))
    return component


def _component(name: str, version: str, kind: ComponentType) -> Component:
    url = PackageURL("pypi", name=canonicalize_name(name), version=version)
    return Component(name=name, version=version, type=kind, bom_ref=str(url), purl=url)


def _requirements(name: str) -> Iterator[Requirement]:
    for text in metadata.requires(name) or ():
        requirement = Requirement(text)
        if _applies(requirement):
            yield requirement
