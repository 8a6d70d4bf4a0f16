"""The host's settings: the least that our apps stand on. The test says where the servers are."""

import django
import environ

_env = environ.Env()

SECRET_KEY = "the host's own, for tests"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["events_app", "tests.host.shop"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "tests.host.urls"
USE_TZ = True

DATABASES = {"default": _env.db("HOST_DATABASE_URL")}
DATABASES["default"]["ATOMIC_REQUESTS"] = True
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL",
    }

# Each of the three places a setting may be in.
ANYMAIL = {"EVENT_REDIS_URL": _env.str("HOST_REDIS_URL")}
ANYMAIL_EVENT_STREAM = "host:events"
SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY = _env.str("HOST_VERIFICATION_KEY")

# A test has put the examples of the documents there.
if _env.bool("HOST_LOGGING", default=False):
    from host_logging_0 import LOGGING  # type: ignore[import-not-found]  # noqa: F401

# Sending is for those who want it; without it events_app stands alone.
if _env.bool("HOST_SENDS", default=False):
    INSTALLED_APPS += ["sending_app"]
    DEFAULT_FROM_EMAIL = "host@example.com"
    _backend = "sending_app.backends.queued.EmailBackend"
    _account = {"api_key": "SG.fake", "api_url": _env.str("HOST_SENDGRID_URL")}
    if django.VERSION >= (6, 1):
        MAILERS = {"default": {"BACKEND": _backend, "OPTIONS": _account}}
    else:
        EMAIL_BACKEND = _backend
        ANYMAIL |= {"SENDGRID_API_KEY": _account["api_key"], "SENDGRID_API_URL": _account["api_url"]}
