"""Every process of a deployment sends wake-ups to the deployment's broker."""

import subprocess
import sys

import project
from workers.app import app


def test_a_deployment_exports_its_celery_app() -> None:
    assert project.celery_app is app


def test_django_alone_binds_tasks_to_the_deployments_celery_app() -> None:
    """As in a web process, which does not import the workers' modules."""
    imports = "import django; django.setup(); from sending_app.tasks import deliver_mails"
    program = f"{imports}; print(deliver_mails.app.main)"
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert process.stdout == "sendgrid-pipeline\n"
