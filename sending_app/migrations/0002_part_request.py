from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('sending_app', '0001_initial'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='part',
            index=models.Index(condition=models.Q(('x_message_id', ''), _negated=True), fields=['x_message_id'], name='part_request'),
        ),
    ]
