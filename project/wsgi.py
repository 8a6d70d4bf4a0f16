"""What a web server runs."""

import os
import resource

from django.core.wsgi import get_wsgi_application
from django.db import connections

from project.bodies import BodyDeadline

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

application = BodyDeadline(get_wsgi_application())

# A connection to the database stays with its thread. Threads are many here: none keeps one after a request.
for database in connections.settings.values():
    database["CONN_MAX_AGE"] = 0

# Each connection is a file, and a shell or systemd mostly allows a process 1024 of them.
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
_enough = 4096 if _hard == resource.RLIM_INFINITY else min(4096, _hard)
if _soft != resource.RLIM_INFINITY and _soft < _enough:
    resource.setrlimit(resource.RLIMIT_NOFILE, (_enough, _hard))
