from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('events_app', '0008_retention'),
    ]

    operations = [
        migrations.AlterField(
            model_name='pendingdelivery',
            name='event',
            field=models.OneToOneField(db_constraint=False, on_delete=models.DO_NOTHING, primary_key=True, related_name='pending', serialize=False, to='events_app.event'),
        ),
        migrations.AlterField(
            model_name='pendinginbounddelivery',
            name='mail',
            field=models.OneToOneField(db_constraint=False, on_delete=models.DO_NOTHING, primary_key=True, related_name='pending', serialize=False, to='events_app.inboundmail'),
        ),
    ]
