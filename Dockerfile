# One image for web, the workers, beat and flower. docker-compose.yml has the command of each.

FROM python:3.13-slim AS packages

COPY requirements/run.lock /run.lock
# Only wheels: a build would need a compiler. The environment has no pip.
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
# The key signs nothing: this step serves no request.
RUN DJANGO_SECRET_KEY=unused python manage.py collectstatic --noinput --verbosity 0

# Inbound mails. A new volume mounted here takes over this folder's owner, so that web and inbound may write.
RUN install -d -o 10001 -g 10001 -m 700 /inbound /inbound/incoming

USER 10001:10001
EXPOSE 8000
# Granian, Celery and flower stop gracefully at SIGTERM.
STOPSIGNAL SIGTERM

CMD ["granian", "--interface", "wsgi", "project.wsgi:application", "--host", "0.0.0.0", "--port", "8000", \
     "--no-ws", "--http", "1", "--http1-header-read-timeout", "10000", "--backpressure", "2048", \
     "--blocking-threads", "640", "--workers-kill-timeout", "10", "--respawn-failed-workers", "--log-level", "warning"]

# The slim image has no curl. DJANGO_ALLOWED_HOSTS must have 127.0.0.1.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=6 \
    CMD ["python", "-c", "from urllib.request import Request, urlopen; urlopen(Request('http://127.0.0.1:8000/anymail/sendgrid/tracking/', method='HEAD'), timeout=4)"]
