"""What is measured against: django-anymail's webhook, and a Celery task for each event."""
