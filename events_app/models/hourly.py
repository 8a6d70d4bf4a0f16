"""The hourly counts of events."""

from events_app.shared import hourly


class HourlyCount(hourly.AbstractHourlyCount):
    """The count of a label of a series of events in one hour."""

    class Meta(hourly.AbstractHourlyCount.Meta):
        pass


class UnfoldedCounts(hourly.AbstractUnfoldedCounts):
    """The counts of a stored batch of events, until a fold."""

    HOURLY = HourlyCount

    class Meta(hourly.AbstractUnfoldedCounts.Meta):
        verbose_name_plural = "unfolded counts"


EVENTS = hourly.declare_series("events", "Events, by type", UnfoldedCounts)
BOUNCE_REASONS = hourly.declare_series("bounce_reasons", "Bounces and drops, by reason", UnfoldedCounts)
DOMAINS_DELIVERED = hourly.declare_series(
    "domains_delivered", "Delivered events, by the domain of the recipient", UnfoldedCounts
)
DOMAINS_BOUNCED = hourly.declare_series(
    "domains_bounced", "Bounced events, by the domain of the recipient", UnfoldedCounts
)
