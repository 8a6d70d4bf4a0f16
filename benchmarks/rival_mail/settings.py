"""The rival of the mail benchmark: django-anymail's backend in a Celery task, as both documentations say."""

import environ

env = environ.Env()

SECRET_KEY = env.str("DJANGO_SECRET_KEY")
USE_TZ = True
INSTALLED_APPS = ["anymail", "benchmarks.rival_mail"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": {**env.db("DATABASE_URL"), "CONN_MAX_AGE": 60}}

MAILERS = {"default": {"BACKEND": "anymail.backends.sendgrid.EmailBackend"}}
DEFAULT_FROM_EMAIL = "shop@example.com"
ANYMAIL = {"SENDGRID_API_KEY": "SG.fake", "SENDGRID_API_URL": env.str("SENDGRID_API_URL", default="")}

CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="")
CELERY_TASK_IGNORE_RESULT = True
# Celery closes database connections after this number of tasks. By default it closes them around each task.
CELERY_DB_REUSE_MAX = 10_000
