"""The settings of a deployment. No other module reads environment variables.

`docs/settings.md` lists the variables.
"""

import warnings
from contextlib import suppress
from pathlib import Path

import django
from django.conf import global_settings

from project.environment import Environment
from workers.broker import beside, broker_settings

BASE_DIR = Path(__file__).resolve().parent.parent

env = Environment()

DEBUG = env.bool("DJANGO_DEBUG", default=False)
# No default: a published key would protect nothing.
SECRET_KEY = env.str("DJANGO_SECRET_KEY")
# Earlier keys: links in mails that were sent with them still work.
SECRET_KEY_FALLBACKS = env.list("DJANGO_SECRET_KEY_FALLBACKS", default=[])
ALLOWED_HOSTS = env.list("DJANGO_ALLOWED_HOSTS", default=["localhost", "127.0.0.1"])
# Behind a proxy that terminates TLS and sets X-Forwarded-Proto. On by default: a deployer who forgets the
# variable gets an admin that works over https alone, and no cookies that others on the way can read.
if env.bool("DJANGO_BEHIND_TLS", default=not DEBUG):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_HSTS_SECONDS = env.int("DJANGO_HSTS_SECONDS", default=30 * 86400)
CSRF_TRUSTED_ORIGINS = env.list("DJANGO_CSRF_TRUSTED_ORIGINS", default=[])
# The admin shows mail addresses and the text of mails, so a login lasts a working day and not two weeks.
SESSION_COOKIE_AGE = 12 * 3600
SILENCED_SYSTEM_CHECKS = [
    # Subdomains, and the browsers' preload list, which requires them: SendGrid's branded links are often
    # http://url1234.mail.example.com below the host name of the site.
    *("security.W005", "security.W021"),
    # A redirect to https: SendGrid follows none. Without https no login works, so the admin needs none.
    "security.W008",
]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_celery_results",
    "events_app",
    "sending_app",
    # The overview in the admin. Nothing else needs this line.
    "overview_app",
    # The deployer's apps with their receivers: a comma-separated list of import paths.
    *env.list("DJANGO_EXTRA_APPS", default=[]),
]

# Django 5.2 has no Content-Security-Policy.
_HAS_CSP = django.VERSION >= (6, 0)
if _HAS_CSP:
    from django.utils.csp import CSP

    SECURE_CSP = {
        "default-src": [CSP.SELF],
        # A page of the admin has a style of its own, with the nonce.
        "style-src": [CSP.SELF, CSP.NONCE],
        "script-src": [CSP.SELF, CSP.NONCE],
        "form-action": [CSP.SELF],
        "frame-ancestors": [CSP.NONE],
        "base-uri": [CSP.NONE],
        "object-src": [CSP.NONE],
    }

MIDDLEWARE = [
    # First, because another middleware could respond with a status that makes SendGrid drop an inbound mail.
    "events_app.middleware.KeepInboundMail",
    "events_app.middleware.AnswerEventWebhook",
    # Above what refuses a monitor's request: for its Host, or because it came over http.
    "events_app.monitoring.middleware.AnswerMonitors",
    "django.middleware.security.SecurityMiddleware",
    *["django.middleware.csp.ContentSecurityPolicyMiddleware"] * _HAS_CSP,
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                *["django.template.context_processors.csp"] * _HAS_CSP,
            ]
        },
    }
]

ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "static"
# Before `manage.py collectstatic` (the image runs it) the admin's files come from its package.
WHITENOISE_USE_FINDERS = not STATIC_ROOT.is_dir()
warnings.filterwarnings("ignore", message="No directory at", category=UserWarning)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"

DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{BASE_DIR / 'db.sqlite3'}")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # Take the write lock at the start of a transaction. A transaction that begins with a read and then
        # writes fails at once, whatever the timeout.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        # FULL: an event is deleted from Redis after this commit, so the commit must survive a power cut.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
else:
    DATABASES["default"]["CONN_MAX_AGE"] = 60
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True

REDIS_URL = env.str("REDIS_URL", default="redis://127.0.0.1:6379/0")
# Messages are only wake-ups, so every broker of Celery is fine. The default is another database of the same
# Redis, so that clearing the broker never deletes events.
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default=beside(REDIS_URL))
# An unreadable URL ends each process at its start. Celery's own error would quote the password.
broker_settings(CELERY_BROKER_URL)
# Of RabbitMQ: "classic" or "quorum".
CELERY_QUEUE_TYPE = env.one_of("CELERY_QUEUE_TYPE", "classic", "quorum", default="classic")

# The folder of inbound mails. Web and workers share it, and no one else may read it. Empty: inbound mail is
# not accepted.
INBOUND_FOLDER = env.str("INBOUND_FOLDER", default="")
if INBOUND_FOLDER:
    STORAGES = {
        **global_settings.STORAGES,
        "sendgrid_inbound": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": INBOUND_FOLDER, "file_permissions_mode": 0o600},
        },
    }
    # Uploads go into the same folder: storing one is then a rename, and /tmp may be too small.
    FILE_UPLOAD_TEMP_DIR = f"{INBOUND_FOLDER}/incoming"
    with suppress(OSError):  # the webhook reports it; events and outgoing mail do not need the folder
        Path(FILE_UPLOAD_TEMP_DIR).mkdir(parents=True, exist_ok=True)

# Mail goes to the outbox; workers send it.
_backend = "sending_app.backends.queued.EmailBackend"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": _backend}}
else:
    EMAIL_BACKEND = _backend
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="webmaster@localhost")

ANYMAIL = {
    "SENDGRID_API_KEY": env.str("SENDGRID_API_KEY", default=""),
    "SENDGRID_API_URL": env.str("SENDGRID_API_URL", default="https://api.sendgrid.com/v3/"),
    "REQUESTS_TIMEOUT": env.float("REQUESTS_TIMEOUT", default=30.0),
    "SUPPRESSION": env.bool("SUPPRESSION", default=False),
    "IGNORE_RECIPIENT_STATUS": env.bool("IGNORE_RECIPIENT_STATUS", default=False),
    "SEND_MAX_AGE": env.int("SEND_MAX_AGE", default=86400),
    "SEND_UNKNOWN_WAIT": env.int("SEND_UNKNOWN_WAIT", default=600),
    "SEND_BULK_ABOVE": env.int("SEND_BULK_ABOVE", default=100),
    "OUTBOX_BODY_DAYS": env.int("OUTBOX_BODY_DAYS", default=7),
    "OUTBOX_RETENTION_DAYS": env.int("OUTBOX_RETENTION_DAYS", default=180),
    # The first encrypts. Several keys, separated by commas, while a key is being changed.
    "OUTBOX_ENCRYPTION_KEYS": env.list("OUTBOX_ENCRYPTION_KEYS", default=[]),
    # The public URL of `mail/` in urls.py: https://mail.example.com/mail/
    "UNSUBSCRIBE_URL": env.str("UNSUBSCRIBE_URL", default=""),
    "UNSUBSCRIBE_DAYS": env.int("UNSUBSCRIBE_DAYS", default=365),
    "EVENT_REDIS_URL": REDIS_URL,
    "EVENT_STREAM": env.str("EVENT_STREAM", default="sendgrid:events"),
    # Several keys, separated by commas, while a key is being rotated.
    "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY": env.list(
        "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY", default=[]
    ),
    "SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY": env.list(
        "SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY", default=[]
    ),
    "SENDGRID_TRACKING_WEBHOOK_MAX_AGE": env.int("SENDGRID_TRACKING_WEBHOOK_MAX_AGE", default=90_000),
    "SENDGRID_INBOUND_WEBHOOK_MAX_AGE": env.int("SENDGRID_INBOUND_WEBHOOK_MAX_AGE", default=270_000),
    "SENDGRID_INBOUND_WEBHOOK_BODY_LIMIT": env.int("SENDGRID_INBOUND_WEBHOOK_BODY_LIMIT", default=33_554_432),
    "INBOUND_RETENTION_DAYS": env.int("INBOUND_RETENTION_DAYS", default=30),
    "WEBHOOK_SECRET": env.list("WEBHOOK_SECRET", default=[]),
    # Several clients, separated by commas, while a secret is being changed.
    "WEBHOOK_OAUTH_CLIENTS": env.list("WEBHOOK_OAUTH_CLIENTS", default=[]),
    "WEBHOOK_OAUTH_ISSUER": env.str("WEBHOOK_OAUTH_ISSUER", default=""),
    "WEBHOOK_OAUTH_JWKS_URL": env.str("WEBHOOK_OAUTH_JWKS_URL", default=""),
    "WEBHOOK_OAUTH_AUDIENCE": env.list("WEBHOOK_OAUTH_AUDIENCE", default=[]),
    "WEBHOOK_OAUTH_SCOPES": env.list("WEBHOOK_OAUTH_SCOPES", default=[]),
    "WEBHOOK_ALLOW_INSECURE": env.bool("WEBHOOK_ALLOW_INSECURE", default=False),
    "DEDUPE_BY": env.str("DEDUPE_BY", default="event_id"),
    "RECEIVER_TIME_LIMIT": env.int("RECEIVER_TIME_LIMIT", default=30),
    "RECEIVER_MAX_ATTEMPTS": env.int("RECEIVER_MAX_ATTEMPTS", default=15),
    "RECEIVER_RETRY_DELAY": env.int("RECEIVER_RETRY_DELAY", default=30),
    "ATOMIC_DISPATCH": env.bool("ATOMIC_DISPATCH", default=False),
    "EVENT_RETENTION_DAYS": env.int("EVENT_RETENTION_DAYS", default=180),
    "EVENT_BACKLOG_LIMIT": env.int("EVENT_BACKLOG_LIMIT", default=1_000_000),
    "PERSONAL_DATA_KEY": env.str("PERSONAL_DATA_KEY", default=""),
    "STORE_IP_ADDRESSES": env.bool("STORE_IP_ADDRESSES", default=True),
    "STORE_USER_AGENTS": env.bool("STORE_USER_AGENTS", default=True),
    "METRICS_TOKEN": env.str("METRICS_TOKEN", default=""),
    "WORKER_WATCHDOG": env.str("WORKER_WATCHDOG", default="log"),
    "LOG_TRACEBACKS": env.bool("LOG_TRACEBACKS", default=False),
}

# The collector of traces. OpenTelemetry's SDK reads its other variables itself.
OTEL_EXPORTER_OTLP_ENDPOINT = env.collector("OTEL_EXPORTER_OTLP_ENDPOINT", default="")
# Short: while the collector is away, a process that ends waits for it, twice at most.
OTEL_EXPORTER_OTLP_TIMEOUT = env.float("OTEL_EXPORTER_OTLP_TIMEOUT", default=3.0)
OTEL_SERVICE_NAME = env.str("OTEL_SERVICE_NAME", default="sendgrid-pipeline")

# "line" for people, "json" for programs.
LOG_FORMAT = env.one_of("LOG_FORMAT", "line", "json", default="line")
_formatters = {
    "line": "events_app.shared.log.lines.LineFormatter",
    "json": "events_app.shared.log.json_lines.JsonFormatter",
}
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "require_debug_false": {"()": "django.utils.log.RequireDebugFalse"},
        "one_line_a_break": {"()": "events_app.worker.log.OneLineABreak"},
        "flood_limit": {"()": "events_app.shared.log.floods.FloodLimit"},
    },
    "formatters": {"ours": {"()": _formatters[LOG_FORMAT]}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "ours",
            "filters": ["one_line_a_break", "flood_limit"],
        },
        # Django's own. It sends nothing without ADMINS.
        "mail_admins": {
            "class": "django.utils.log.AdminEmailHandler",
            "level": "ERROR",
            "filters": ["require_debug_false", "flood_limit"],
        },
    },
    "root": {"handlers": ["stderr"], "level": env.one_of("LOG_LEVEL", *_LEVELS, default="INFO")},
    # Without Django's own handlers on the console, which write in their own format.
    "loggers": {
        "django": {"level": "NOTSET", "handlers": ["mail_admins"]},
        "django.server": {"level": "NOTSET", "handlers": [], "propagate": True},
    },
}
