"""The host's settings: the least that events_app stands on. The test says where the servers are."""

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
