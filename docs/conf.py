"""Sphinx's configuration: `./dev docs` builds the site of these pages."""

import re
import sys
import tomllib
from pathlib import Path

import django
from django.conf import settings
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

# The API reference imports the apps.
settings.configure(
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "events_app",
        "sending_app",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

_about = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

project = _about["name"]
version = release = _about["version"]
copyright = "the contributors of django-sendgrid-pipeline"  # noqa: A001 (Sphinx's name)
html_title = f"{project} {version}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_copybutton"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_show_sphinx = False
html_copy_source = False
templates_path: list[str] = []

# Headings have the anchors that the hosts of repositories give them.
myst_heading_anchors = 6
myst_links_external_new_tab = False

# Docstrings have names in single backticks.
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
maximum_signature_line_length = 80
# Names of other packages lead nowhere, because this site needs no network. Ours must have a target.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!events_app\.|sending_app\.|fake_sendgrid\.).*"),
    (r"py:.*", r"events_app\.shared\.personal_data\.person\.Person"),
]
toc_object_entries_show_parents = "hide"

pygments_style = "friendly"
pygments_dark_style = "monokai"
# A block without a language is output, a picture of text, or several commands with their output.
highlight_language = "none"
copybutton_selector = "div:not(.highlight-none):not(.highlight-default) > div.highlight > pre"

#: By a file outside this folder: the page that includes it. Links to the file work in the repository too.
INCLUDING = {
    match[1]: page.name
    for page in Path(__file__).parent.glob("*.md")
    if (match := re.match(r"```\{include\} (\.\./\S+)", page.read_text()))
}


def link_to_including_pages(_app: Sphinx, _name: str, content: list[str]) -> None:
    for file, page in INCLUDING.items():
        content[0] = content[0].replace(f"]({file}", f"]({page}")


def link_from_this_folder(_app: Sphinx, _path: Path, _name: str, content: list[str]) -> None:
    """Make links of an included file of the root: it links to docs/deploy.md, and to CHANGELOG.md."""

    def linked(match: re.Match[str]) -> str:
        file = f"../{match[1]}"
        return f"]({INCLUDING.get(file, file)}".replace("](../docs/", "](")

    content[0] = re.sub(r"\]\((?!\w+:|#)([\w./-]+)", linked, content[0])


def setup(app: Sphinx) -> None:
    app.connect("source-read", link_to_including_pages)
    app.connect("include-read", link_from_this_folder)
