"""Settings of development. The environment names the servers, as in many projects."""

from pathlib import Path

import django
import environ

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()

SECRET_KEY = "of a bookshop that nobody visits"
ALLOWED_HOSTS = ["127.0.0.1"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "events_app",
    "sending_app",
    "accounts",
    "orders",
]
MIDDLEWARE = [
    "events_app.middleware.KeepInboundMail",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
ROOT_URLCONF = "bookshop.urls"
TEMPLATES = [
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
]
AUTH_USER_MODEL = "accounts.User"

DATABASES = {"default": env.db("DATABASE_URL")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL",
    }

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "sendgrid_inbound": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(BASE_DIR / "inbound"), "file_permissions_mode": 0o600},
    },
}

DEFAULT_FROM_EMAIL = "The bookshop <shop@bookshop.example>"
ANYMAIL = {
    "EVENT_REDIS_URL": env.str("REDIS_URL"),
    "SENDGRID_API_KEY": "SG.of-the-bookshop",
    "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY": env.str("VERIFICATION_KEY"),
    "SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY": env.str("VERIFICATION_KEY"),
}
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "sending_app.backends.queued.EmailBackend"}}
else:
    EMAIL_BACKEND = "sending_app.backends.queued.EmailBackend"

CELERY_BROKER_URL = env.str("BROKER_URL")
CELERY_BEAT_SCHEDULE = {
    "sendgrid-events": {"task": "events.tick", "schedule": 5.0},
    "sendgrid-mail": {"task": "sending.tick", "schedule": 5.0},
}
