# One image for web, the workers, beat and flower. docker-compose.yml has the command of each.

# With the release of Debian, which would otherwise change some day. Python 3.13 and Debian get security updates. To have
# the same base in each build, add the digest that `docker buildx imagetools inspect python:3.13-slim-trixie` prints.
FROM python:3.13-slim-trixie AS packages

# The folder, because extra.txt may be missing.
COPY requirements /requirements
# Only wheels: a build would need a compiler. The environment has no pip.
RUN python -m venv --without-pip /venv \
 && pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
    --require-hashes --only-binary=:all: -r /requirements/run.lock

# The packages of your own apps, in requirements/extra.txt. They may not change the versions of the lock.
RUN if [ -e /requirements/extra.txt ]; then \
        pip --python /venv/bin/python freeze --disable-pip-version-check > /requirements/locked.txt \
     && pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        --only-binary=:all: -c /requirements/locked.txt -r /requirements/extra.txt; \
    fi


FROM python:3.13-slim-trixie

ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

# The folder of inbound mails. A new volume mounted here takes over this folder's owner, so that web and inbound may
# write.
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin pipeline \
 && install -d -o 10001 -g 10001 -m 700 /inbound /inbound/incoming

COPY --from=packages /venv /venv
WORKDIR /app
COPY . .
# The key signs nothing: this step serves no request. A container cannot write, so Python would compile our modules at
# each start and each health check.
RUN DJANGO_SECRET_KEY=unused python manage.py collectstatic --noinput --verbosity 0 \
 && python -m compileall -q .

USER 10001:10001
EXPOSE 8000
# Granian, Celery and flower stop gracefully at SIGTERM.
STOPSIGNAL SIGTERM

CMD ["granian", "--interface", "wsgi", "project.wsgi:application", "--host", "0.0.0.0", "--port", "8000", \
     "--no-ws", "--http", "1", "--http1-header-read-timeout", "10000", "--backpressure", "2048", \
     "--blocking-threads", "640", "--workers-kill-timeout", "10", "--respawn-failed-workers", "--log-level", "warning"]

# The slim image has no curl. Not /readyz: some orchestrators replace a container whose check fails, and a new web mends
# no Redis.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=6 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/livez', timeout=4)"]
