"""The rival of the event benchmarks: django-anymail's webhook, and a Celery task for each event."""
