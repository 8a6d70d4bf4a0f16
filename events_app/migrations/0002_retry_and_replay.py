from typing import Any

from django.db import migrations, models


def keep_failures(apps: Any, schema_editor: Any) -> None:
    """`attempts` counted each time a worker had begun, `failed` were the receivers that raised."""
    rows = apps.get_model("events_app", "Work").objects.using(schema_editor.connection.alias)
    for work in rows.exclude(failed=[], attempts__lt=2):
        work.receivers = dict.fromkeys(work.failed, work.error)
        work.failures = 1 if work.failed else 0
        work.lapses = max(0, work.attempts - 1)
        work.error = "Given up: a receiver failed." if work.failed else work.error
        work.save()


def vacuum_often(apps: Any, schema_editor: Any) -> None:
    """Each event passes through this table, and most of its rows live for less than a second.

    By default PostgreSQL waits for a fifth of the table to be dead, and pauses at its work. With a
    million rows kept as `dead` that is 200,000 rows that every look for due work has to step over.
    """
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            "ALTER TABLE events_app_work SET (autovacuum_vacuum_scale_factor = 0, "
            "autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0, "
            "autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000)"
        )


INDEXES = (
    models.Index(
        fields=["event"],
        name="work_released",
        condition=models.Q(("state", "owed"), ("claim", None), ("failures", 0), ("replay", False)),
    ),
    models.Index(
        fields=["due"],
        name="work_to_retry",
        condition=models.Q(
            ("state", "owed"),
            ("claim", None),
            models.Q(("failures__gt", 0), ("replay", True), _connector="OR"),
        ),
    ),
    models.Index(
        fields=["due"], name="work_claimed", condition=models.Q(("state", "owed"), ("claim__isnull", False))
    ),
)


class Migration(migrations.Migration):
    dependencies = [("events_app", "0001_initial")]

    operations = [
        migrations.AddField("work", "failures", models.PositiveSmallIntegerField(default=0)),
        migrations.AddField("work", "lapses", models.PositiveSmallIntegerField(default=0)),
        migrations.AddField("work", "replay", models.BooleanField(default=False)),
        migrations.AddField("work", "receivers", models.JSONField(default=dict)),
        migrations.RunPython(keep_failures, migrations.RunPython.noop, elidable=True),
        migrations.RemoveField("work", "attempts"),
        migrations.RemoveField("work", "failed"),
        migrations.RemoveIndex("work", "work_owed"),
        *(migrations.AddIndex("work", index) for index in INDEXES),
        migrations.RunPython(vacuum_often, migrations.RunPython.noop),
    ]
