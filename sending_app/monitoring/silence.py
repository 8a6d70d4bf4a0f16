"""The facts about silence: SendGrid has accepted mails, and no event of any mail has come since.

SendGrid posts an event for each mail within a minute or so. So silence means that its posts do not arrive:
the Event Webhook is off, or has another URL, or this server refuses the posts.
"""

from collections.abc import Iterator
from datetime import UTC, timedelta

from django.db.models import F, Max, Q
from django.urls import NoReverseMatch, reverse
from redis import RedisError

from events_app import stream
from events_app.shared.database import database_now
from events_app.shared.escaping import one_line
from events_app.shared.facts import DATABASE, Depth, Level, Reading, declare, source
from sending_app import account, conf
from sending_app.account import Account
from sending_app.models import Mail, WebhookActivity
from sending_app.outbox import using
from sending_app.outcome.activity import bucket_length

SILENT = declare(
    "mails_in_silence",
    "Mails that SendGrid accepted over an hour ago, if no event has come since the first of them",
    labels=("mailer",),
)

#: The time in which events must come.
PATIENCE = timedelta(hours=1)

#: The time before, in which mails are counted. Rows of activity are kept for longer.
LOOKS_BACK = timedelta(days=1)

#: Mails that are counted. More are told as "or more".
MOST = 1000

#: Mails that are enough for a warning. Of a few mails, an Event Webhook without the event "processed" may
#: have nothing to tell for hours.
ENOUGH = 10


@source(Depth.FIGURES, DATABASE)
def read_silence() -> Iterator[Reading]:
    """Say for which mailers events are missing, if this project has a webhook for events."""
    try:
        reverse("events_app:sendgrid_tracking_webhook")
    except NoReverseMatch:
        return
    if not conf.GENERATE_MESSAGE_ID.get():
        return  # no event can be matched to its mail
    accounts = {mailer.fingerprint: mailer for mailer in reversed(account.usable())}
    for mailer in reversed(accounts.values()):
        yield _read(mailer)


def _read(mailer: Account) -> Reading:
    now = database_now(using())
    until = now - PATIENCE
    events = WebhookActivity.objects.filter(account=mailer.fingerprint)
    last_event = events.aggregate(last=Max("at"))["last"]
    since = max(last_event + bucket_length(), now - LOOKS_BACK) if last_event else now - LOOKS_BACK
    if since >= until or _events_wait():
        return SILENT.read(0, mailer.alias)
    mails = Mail.objects.filter(
        # A scheduled mail has its events later.
        Q(send_at=None) | Q(send_at__lte=F("accepted_at")),
        # By the time of the attempt, which one index has with the account. Other times may be an operator's,
        # who settles a mail as sent.
        account=mailer.fingerprint,
        attempted_at__gt=since,
        attempted_at__lte=until,
        accepted_at__isnull=False,
    )
    times = list(mails.order_by("attempted_at").values_list("attempted_at", flat=True)[:MOST])
    if not times or times[0] is None:
        return SILENT.read(0, mailer.alias)
    more = " or more" if len(times) == MOST else ""
    count = f"{len(times)}{more} mails were" if len(times) > 1 else "1 mail was"
    return SILENT.read(
        len(times),
        mailer.alias,
        level=Level.WARNING if len(times) >= ENOUGH else Level.ADVICE,
        text=f"{count} accepted by SendGrid since {times[0].astimezone(UTC):%H:%M} UTC (mailer "
        f"{one_line(mailer.alias)}), and no event has come for over an hour.",
        advice="The Event Webhook may be off, or its posts may be refused: manage.py sendgrid_webhooks list",
        page="admin:sending_app_mail_changelist?state=accepted",
    )


def _events_wait() -> bool:
    """Whether events may wait to be stored: the facts about the backlog tell why."""
    try:
        return stream.backlog() > 0
    except RedisError:
        return True
