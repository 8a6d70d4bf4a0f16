"""Celery's results in the database: how long they stay, and their page in the admin."""

from datetime import timedelta

import pytest
from celery.beat import Scheduler
from django.test import Client
from django.utils import timezone
from django_celery_results.models import TaskResult

from workers.app import EVENT_QUEUES, app

pytestmark = pytest.mark.django_db


def keep_result(task_id: str, age: timedelta = timedelta()) -> None:
    TaskResult.objects.create(
        task_id=task_id,
        task_name="sending.deliver",
        worker="mailer@here",
        status="SUCCESS",
        result='{"accepted": 1, "failed": 2}',
    )
    TaskResult.objects.filter(task_id=task_id).update(date_done=timezone.now() - age)


def test_beat_has_results_deleted_after_a_week() -> None:
    keep_result("old", timedelta(days=7, hours=1))
    keep_result("young", timedelta(days=6, hours=23))
    cleanup = "celery.backend_cleanup"
    assert cleanup in [entry.task for entry in Scheduler(app).schedule.values()]
    assert app.amqp.router.route({}, cleanup)["queue"].name in EVENT_QUEUES
    app.tasks[cleanup]()
    assert [row.task_id for row in TaskResult.objects.all()] == ["young"]


def test_the_admin_shows_the_task_and_the_worker_of_a_result(admin_client: Client) -> None:
    keep_result("17")
    page = admin_client.get("/admin/django_celery_results/taskresult/").content.decode()
    assert "sending.deliver" in page
    assert "mailer@here" in page
    page = admin_client.get(
        f"/admin/django_celery_results/taskresult/{TaskResult.objects.get().pk}/change/"
    ).content.decode()
    assert "&quot;failed&quot;: 2" in page
