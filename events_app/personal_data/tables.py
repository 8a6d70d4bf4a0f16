"""Further tables with texts that may mention a person."""

from django.apps import apps

from events_app.models import HourlyCount, PendingDelivery, PendingInboundDelivery, UnfoldedCounts
from events_app.shared.personal_data.columns import columns_place
from events_app.shared.personal_data.registry import Place

#: The columns of tables of other apps, by "app.Model" and the noun of the rows.
_OF_OTHERS = {
    ("django_celery_results.TaskResult", "task results"): (
        *("task_name", "task_args", "task_kwargs", "worker", "result", "traceback", "meta"),
    ),
    ("django_celery_results.GroupResult", "results of task groups"): ("result",),
    ("admin.LogEntry", "log entries of the admin"): ("object_id", "object_repr", "change_message"),
}


def places() -> list[Place]:
    """The places of this app's tables, and of tables of installed apps."""
    found = [
        columns_place("pending deliveries of events", PendingDelivery, "receivers", "error"),
        columns_place("pending deliveries of inbound mails", PendingInboundDelivery, "receivers", "error"),
        columns_place("hourly counts of events", HourlyCount, "label"),
        columns_place("unfolded counts of events", UnfoldedCounts, "counts"),
    ]
    for (model, noun), columns in _OF_OTHERS.items():
        if model.partition(".")[0] in apps.app_configs:
            found.append(columns_place(noun, apps.get_model(model), *columns))
    return found
