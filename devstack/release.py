"""`./dev release`: does everything of a release but the tag, and says what is missing for it.

It builds and tries the package (`./dev package`) and writes the bill of materials beside it.
`./dev release --tag` then tags the commit. Neither uploads or pushes anything.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator

from devstack import bill_of_materials, package
from devstack.stack import ROOT

#: A reserved domain. The host of the repository is not known yet.
PLACEHOLDER = ".invalid"


def main(argv: list[str]) -> int:
    if argv not in ([], ["--tag"]):
        print("usage: ./dev release [--tag]", file=sys.stderr)
        return 2
    version: str = tomllib.loads(_read("pyproject.toml"))["project"]["version"]
    if package.main([]):
        return 1
    bill = package.DIST / f"django_sendgrid_pipeline-{version}.cdx.json"
    number = bill_of_materials.write(bill)
    print(f"{bill.name}: {number} packages of a deployment", flush=True)
    missing = list(missing_for(version))
    for sentence in missing:
        print(f"release: before the tag v{version}: {sentence}", flush=True)
    if not argv:
        print("release: nothing tagged; ./dev release --tag tags the commit", flush=True)
        return 0
    if missing:
        print("release: failed", file=sys.stderr)
        return 1
    _git("tag", "--annotate", f"v{version}", "--message", f"Version {version}")
    print(f"release: tagged v{version}. Left to do:", flush=True)
    print(f"  git push origin v{version}\n  twine upload dist/*.whl dist/*.tar.gz", flush=True)
    return 0


def missing_for(version: str) -> Iterator[str]:
    """What keeps the commit from being tagged as this version, in sentences."""
    if not re.search(
        rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", _read("CHANGELOG.md"), re.MULTILINE
    ):
        yield f'CHANGELOG.md needs the heading "## {version} (YYYY-MM-DD)"'
    if PLACEHOLDER in _read("pyproject.toml"):
        yield f"pyproject.toml needs the real host in place of the one that ends with {PLACEHOLDER}"
    if _git("status", "--porcelain"):
        yield "commit the changes in the working tree"
    if _git("tag", "--list", f"v{version}"):
        yield "the tag exists; raise the version in pyproject.toml"


def _read(name: str) -> str:
    return (ROOT / name).read_text()


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()
