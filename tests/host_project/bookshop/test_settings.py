"""Settings for tests: no worker and no keys, as many projects have them."""

from bookshop.settings import *  # noqa: F403
from bookshop.settings import env

CELERY_TASK_ALWAYS_EAGER = True
ANYMAIL = {"EVENT_REDIS_URL": env.str("REDIS_URL")}
