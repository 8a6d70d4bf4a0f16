"""The Django project of a deployment. Importing it binds the apps' tasks to the deployment's Celery app."""

from workers.app import app as celery_app

__all__ = ["celery_app"]
