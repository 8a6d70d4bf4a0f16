"""`./dev docs`: builds the site of the documents into `build/docs`.

Strict: a warning of Sphinx fails the build, such as a link to a page or a heading that does not exist.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SITE = ROOT / "build" / "docs"

#: `--fresh-env` reads every page again: the API reference changes with the code. `--nitpicky` wants a target
#: for each name of the code.
STRICT = ("--fail-on-warning", "--keep-going", "--nitpicky", "--fresh-env", "--quiet")


def main(argv: list[str]) -> int:
    if argv:
        print("usage: ./dev docs", file=sys.stderr)
        return 2
    shutil.rmtree(SITE, ignore_errors=True)
    sphinx = (sys.executable, "-m", "sphinx", *STRICT, "--jobs", "auto")
    if subprocess.run([*sphinx, ROOT / "docs", SITE], check=False).returncode:
        print("docs: failed", file=sys.stderr)
        return 1
    print(f"docs: built; open {SITE.relative_to(ROOT)}/index.html")
    return 0
