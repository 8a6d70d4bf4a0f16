"""A deployment. Importing it binds the apps' tasks to the deployment's Celery app."""

__all__ = ["celery_app"]
