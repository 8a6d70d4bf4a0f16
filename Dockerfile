# One image for web, worker, beat and flower; docker-compose.yml gives each its command.

FROM python:3.13-slim AS packages

COPY requirements/run.lock /run.lock
# Wheels alone: what has to be built would need a compiler. pip stays outside.
RUN python -m venv --without-pip /venv \
 && pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
    --require-hashes --only-binary=:all: -r /run.lock


FROM python:3.13-slim

ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin pipeline

COPY --from=packages /venv /venv
WORKDIR /app
COPY . .
# The key signs nothing: no request is served here.
RUN DJANGO_SECRET_KEY=unused python manage.py collectstatic --noinput --verbosity 0

# Inbound mails, for web and worker alike: a new volume that is mounted here takes over whose it is.
RUN install -d -o 10001 -g 10001 -m 700 /inbound /inbound/incoming

USER 10001:10001
EXPOSE 8000
# Granian, Celery and flower all leave in good order at this one.
STOPSIGNAL SIGTERM

CMD ["granian", "--interface", "wsgi", "project.wsgi:application", "--host", "0.0.0.0", "--port", "8000", \
     "--no-ws", "--http", "1", "--http1-header-read-timeout", "10000", "--backpressure", "2048", \
     "--blocking-threads", "640", "--workers-kill-timeout", "10", "--respawn-failed-workers", "--log-level", "warning"]

# The slim image has no curl. 127.0.0.1 must be among DJANGO_ALLOWED_HOSTS.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=6 \
    CMD ["python", "-c", "from urllib.request import Request, urlopen; urlopen(Request('http://127.0.0.1:8000/anymail/sendgrid/tracking/', method='HEAD'), timeout=4)"]
