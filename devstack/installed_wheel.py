"""Tries the installed wheel: imports each module of the named packages, migrates, and runs Django's checks.

`./dev package` runs this file by its path, in an environment with nothing but the wheel and its dependencies.
So it imports neither devstack nor anything else that the wheel does not bring.
"""

import sys
import tempfile
from importlib import import_module
from io import StringIO
from pathlib import Path
from pkgutil import walk_packages

import django
from django.conf import settings
from django.core.management import call_command

#: What a module may import although the package does not depend on it: who runs pytest has pytest, JSON lines
#: need python-json-logger (docs/logs.md), and the others are in extras.
NOT_REQUIRED = {"pytest", "_pytest", "pythonjsonlogger", "jwt", "opentelemetry", "prometheus_client"}


def main(packages: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        configure(Path(folder) / "db.sqlite3")
        imported = sum(1 for package in packages for name in names(package) if importable(name))
        call_command("migrate", verbosity=0)
        call_command("makemigrations", check_changes=True, dry_run=True, verbosity=0)
        call_command("check", databases=["default"], fail_level="WARNING", stdout=StringIO())
    versions = f"Python {sys.version.split()[0]}, Django {django.__version__}"
    print(f"{versions}: {imported} modules imported, migrated, checked")


def configure(database: Path) -> None:
    """Set Django up with the settings of a small project."""
    backend = "sending_app.backends.queued.EmailBackend"
    if django.VERSION >= (6, 1):
        mail_settings: dict[str, object] = {"MAILERS": {"default": {"BACKEND": backend}}}
    else:
        mail_settings = {"EMAIL_BACKEND": backend}
    settings.configure(
        SECRET_KEY="for this try",
        USE_TZ=True,
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "events_app",
            "sending_app",
            "overview_app",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        ROOT_URLCONF="events_app.urls",
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(database),
                "OPTIONS": {
                    "transaction_mode": "IMMEDIATE",
                    "timeout": 20,
                    "init_command": "PRAGMA journal_mode=WAL",
                },
            }
        },
        ANYMAIL={
            "EVENT_REDIS_URL": "redis://127.0.0.1:1/0",
            "SENDGRID_API_KEY": "SG.of-nobody",
            "WEBHOOK_SECRET": "sendgrid:a-secret-for-this-try-only",
        },
        DEFAULT_FROM_EMAIL="shop@example.com",
        SILENCED_SYSTEM_CHECKS=["events_app.W022"],  # this try has no Redis
        **mail_settings,
    )
    django.setup()


def names(package: str) -> list[str]:
    """The package and each module in it. A module outside the environment ends the program."""
    module = import_module(package)
    folder = Path(str(module.__file__)).parent
    if not folder.is_relative_to(sys.prefix):
        sys.exit(f"{package} is imported from {folder}, not from the wheel")
    return [package, *(info.name for info in walk_packages(module.__path__, f"{package}."))]


def importable(name: str) -> bool:
    """Import a module; return False if it needs a package that is not required."""
    try:
        import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name in NOT_REQUIRED:
            return False
        raise
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
