"""The WSGI application of a deployment."""

import os
import resource

from django.core.wsgi import get_wsgi_application
from django.db import connections

from project.bodies import BodyDeadline
from workers.tracing import export_spans

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

application = BodyDeadline(get_wsgi_application())

# Granian imports this module after the fork, in every web process.
export_spans()

# A database connection belongs to its thread. The server has many threads, so none keeps one after a request.
for database in connections.settings.values():
    database["CONN_MAX_AGE"] = 0

# Each connection is an open file, and the usual limit of shells and systemd is 1024.
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
_enough = 4096 if _hard == resource.RLIM_INFINITY else min(4096, _hard)
if _soft != resource.RLIM_INFINITY and _soft < _enough:
    resource.setrlimit(resource.RLIMIT_NOFILE, (_enough, _hard))
