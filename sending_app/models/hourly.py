"""Hourly counts of mails. The counts outlive the other rows."""

from events_app.shared import hourly


class HourlyCount(hourly.AbstractHourlyCount):
    """The count of a label of a series of mails in one hour."""

    class Meta(hourly.AbstractHourlyCount.Meta):
        pass


class UnfoldedCounts(hourly.AbstractUnfoldedCounts):
    """The counts of one batch of event feedback, until they are folded."""

    HOURLY = HourlyCount

    class Meta(hourly.AbstractUnfoldedCounts.Meta):
        verbose_name_plural = "unfolded counts"


SENT = hourly.declare_series("sent", "Recipients of the mails that SendGrid has accepted", UnfoldedCounts)
LATENCY = hourly.declare_series(
    "latency",
    "Delivered recipients, by the seconds from acceptance to delivery: the upper bound, or more",
    UnfoldedCounts,
)
