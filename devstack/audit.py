"""`./dev audit`: asks PyPI for known vulnerabilities of the packages in requirements/dev.lock.

The lock has the packages of a deployment (requirements/run.lock) and those of development. The exit status
is 1 if a package has a vulnerability, and 3 if the source of advisories has not answered about each package.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from devstack.stack import ROOT

LOCK = ROOT / "requirements" / "dev.lock"

CLEAN, VULNERABLE, NOT_AUDITED = 0, 1, 3


def main(argv: list[str]) -> int:
    if argv:
        print("./dev audit takes no arguments.", file=sys.stderr)
        return 2
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("pip-audit"), "--format", "json", "--progress-spinner", "off"),
            # The lock is complete, so nothing is resolved and nothing downloaded.
            *("--require-hashes", "--disable-pip", "--requirement", LOCK),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return report(done.stdout, done.stderr)


def report(output: str, errors: str) -> int:
    """Print the findings in pip-audit's JSON, and return the exit status."""
    try:
        packages: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except ValueError:  # pip-audit ended before its report
        reason = (errors.strip().splitlines() or ["pip-audit gave no report"])[-1]
        print(f"audit: not audited: {reason}", file=sys.stderr)
        return NOT_AUDITED
    # pip-audit reports no vulnerability of a package that its source does not know.
    skipped = [package for package in packages if "skip_reason" in package]
    vulnerable = [package for package in packages if package.get("vulns")]
    for package in vulnerable:
        for advisory in package["vulns"]:
            mended = ", ".join(advisory["fix_versions"]) or "no version"
            print(f"{package['name']} {package['version']}: {advisory['id']}, mended in {mended}")
    audited = len(packages) - len(skipped)
    print(
        f"audit: {audited} of {len(packages)} packages of {LOCK.name} audited, {len(vulnerable)} vulnerable",
        flush=True,
    )
    if skipped:
        print(
            f"audit: the source of advisories has no answer about {len(skipped)} packages, for example: "
            f"{skipped[0]['skip_reason']}",
            file=sys.stderr,
        )
    if vulnerable:
        return VULNERABLE
    return NOT_AUDITED if skipped else CLEAN
