"""Additions to every Celery worker of our queues, also in a host project's own Celery app.

This file imports nothing: Django configures the logging, with filters from here, before it loads the apps.
"""
