import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='OpenCircuit',
            fields=[
                ('account', models.CharField(max_length=32, primary_key=True, serialize=False)),
                ('alias', models.CharField(max_length=64)),
                ('opened_at', models.DateTimeField()),
                ('probe_at', models.DateTimeField()),
                ('failures', models.PositiveIntegerField(default=1)),
                ('status_code', models.PositiveSmallIntegerField(null=True)),
                ('reason', models.TextField(blank=True)),
            ],
            options={
                'base_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='OutboxMessage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField()),
                ('alias', models.CharField(max_length=64)),
                ('subject', models.CharField(blank=True, max_length=200)),
                ('content', models.BinaryField(null=True)),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('content__isnull', False)), fields=['id'], name='outbox_has_content')],
            },
        ),
        migrations.CreateModel(
            name='Mail',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('state', models.CharField(choices=[('waiting', 'Waiting'), ('posting', 'Posting'), ('accepted', 'Accepted'), ('failed', 'Failed'), ('unknown', 'Unknown'), ('parked', 'Parked'), ('cancelled', 'Cancelled')], default='waiting', max_length=9)),
                ('lane', models.CharField(choices=[('mail', 'Mail'), ('bulk', 'Bulk')], max_length=4)),
                ('alias', models.CharField(max_length=64)),
                ('created_at', models.DateTimeField()),
                ('send_at', models.DateTimeField(null=True)),
                ('due', models.DateTimeField()),
                ('attempt_token', models.BigIntegerField(null=True)),
                ('attempts', models.PositiveIntegerField(default=0)),
                ('unknown_outcomes', models.PositiveSmallIntegerField(default=0)),
                ('unknown_attempts', models.JSONField(default=list)),
                ('attempted_at', models.DateTimeField(null=True)),
                ('unknown_since', models.DateTimeField(null=True)),
                ('account', models.CharField(blank=True, max_length=32)),
                ('accepted_at', models.DateTimeField(null=True)),
                ('first_event_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('x_message_id', models.CharField(blank=True, max_length=255)),
                ('sent_twice', models.BooleanField(default=False)),
                ('paused_at', models.DateTimeField(null=True)),
                ('refused', models.BooleanField(default=False)),
                ('split_from', models.BigIntegerField(null=True)),
                ('further_requests', models.PositiveSmallIntegerField(default=0)),
                ('refusal_named', models.BooleanField(default=False)),
                ('error', models.TextField(blank=True)),
                ('log', models.JSONField(default=list)),
                ('recipient_count', models.PositiveIntegerField()),
                ('personalizations', models.BinaryField(null=True)),
                ('message', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='mails', to='sending_app.outboxmessage')),
            ],
        ),
        migrations.CreateModel(
            name='Attachment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('filename', models.CharField(max_length=255)),
                ('type', models.CharField(max_length=255)),
                ('content_id', models.CharField(max_length=255, null=True)),
                ('content', models.BinaryField()),
                ('message', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='attachments', to='sending_app.outboxmessage')),
            ],
            options={
                'base_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='Recipient',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('message_id', models.UUIDField()),
                ('address', models.CharField(max_length=320)),
                ('kind', models.CharField(choices=[('to', 'To'), ('cc', 'Cc'), ('bcc', 'Bcc')], max_length=3)),
                ('status', models.CharField(default='queued', max_length=9)),
                ('rank', models.PositiveSmallIntegerField(default=0)),
                ('status_at', models.DateTimeField(null=True)),
                ('reject_reason', models.CharField(blank=True, max_length=12)),
                ('opened_at', models.DateTimeField(null=True)),
                ('clicked_at', models.DateTimeField(null=True)),
                ('complained_at', models.DateTimeField(null=True)),
                ('unsubscribed_at', models.DateTimeField(null=True)),
                ('mail', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='recipients', to='sending_app.mail')),
            ],
        ),
        migrations.CreateModel(
            name='WebhookActivity',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('account', models.CharField(max_length=32)),
                ('at', models.DateTimeField()),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('account', 'at'), name='activity_of_an_account')],
            },
        ),
        migrations.AddIndex(
            model_name='mail',
            index=models.Index(condition=models.Q(('state', 'waiting')), fields=['lane', 'due'], name='mail_waiting'),
        ),
        migrations.AddIndex(
            model_name='mail',
            index=models.Index(condition=models.Q(('state', 'posting')), fields=['due'], name='mail_posting'),
        ),
        migrations.AddIndex(
            model_name='mail',
            index=models.Index(condition=models.Q(('state', 'unknown')), fields=['due'], name='mail_unknown'),
        ),
        migrations.AddIndex(
            model_name='mail',
            index=models.Index(condition=models.Q(('accepted_at__isnull', False)), fields=['account', 'attempted_at'], name='mail_accepted'),
        ),
        migrations.AddIndex(
            model_name='mail',
            index=models.Index(condition=models.Q(('x_message_id', ''), _negated=True), fields=['x_message_id'], name='mail_x_message_id'),
        ),
        migrations.AddIndex(
            model_name='mail',
            index=models.Index(condition=models.Q(('state', 'failed')), fields=['id'], name='mail_failed'),
        ),
        migrations.AddIndex(
            model_name='mail',
            index=models.Index(condition=models.Q(('state', 'parked')), fields=['id'], name='mail_parked'),
        ),
        migrations.AddIndex(
            model_name='mail',
            index=models.Index(condition=models.Q(('sent_twice', True)), fields=['id'], name='mail_sent_twice'),
        ),
        migrations.AddIndex(
            model_name='recipient',
            index=models.Index(fields=['address'], name='recipient_address'),
        ),
        migrations.AddConstraint(
            model_name='recipient',
            constraint=models.UniqueConstraint(fields=('message_id', 'address'), name='recipient_of_a_personalization'),
        ),
    ]
