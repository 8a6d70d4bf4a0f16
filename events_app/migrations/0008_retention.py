from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('events_app', '0007_time_ordered_keys'),
    ]

    operations = [
        # Changes nothing in the database.
        migrations.AlterField(
            model_name='pendingdelivery',
            name='event',
            field=models.OneToOneField(
                on_delete=models.DO_NOTHING,
                primary_key=True,
                related_name='pending',
                serialize=False,
                to='events_app.event',
            ),
        ),
    ]
