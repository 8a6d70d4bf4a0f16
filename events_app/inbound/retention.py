"""Inbound mails at the end of their retention go, and files that belong to no mail."""

from events_app.claims import Claim


def prune(claim: Claim) -> bool:
    """Remove both. False when the budget ended first. Raises what the database or the storage raises."""
    raise NotImplementedError
