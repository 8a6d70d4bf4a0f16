"""The counters and histograms of mails."""

from events_app.shared.counting import ALL, Counter, Histogram

MAIL_OUTCOMES = Counter(
    "mail_outcomes", "Mails by lane and what became of an attempt", ("lane", "outcome"), "accepted"
)
MAIL_SECONDS = Histogram(
    "mail_seconds",
    "Seconds from send() to the acceptance by SendGrid",
    (0.1, 0.5, 1, 5, 30, 300, 3600),
    ("lane",),
)
API_REQUEST_SECONDS = Histogram(
    "api_request_seconds",
    "Seconds of a request to SendGrid, by the status of the answer",
    (0.05, 0.1, 0.25, 0.5, 1, 5, 30),
    ("status",),
)
RECIPIENT_STATUSES = Counter(
    "recipient_statuses", "Recipients that reached a status for the first time", ("status",), ALL
)
