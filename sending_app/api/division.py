"""Divide a refused request, so that a bad personalization does not cost the others.

SendGrid takes a request as a whole or not at all. A refusal names the bad personalizations
(sendgrid-nodejs issue 974), or does not name them: then halves are posted, until the bad ones stand alone.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sending_app.mail import Personalization

#: How many requests may follow a refused request if SendGrid accepts no part and names no personalization.
#: Enough to find one bad personalization in a thousand. Many refused requests make SendGrid block an account
#: (API Responses).
MAX_REQUESTS = 20

#: The same, once SendGrid has accepted a part or named a personalization. Enough to find three unnamed
#: culprits in a thousand, or sixty culprits that SendGrid names one by one.
MAX_REQUESTS_WITH_PROGRESS = 60


class Division(NamedTuple):
    """The personalizations of a refused request. Each is in one list; the order is kept."""

    refused: list[Personalization]
    #: Lists to post again, each in a request.
    remaining: list[list[Personalization]]


def divide(personalizations: Sequence[Personalization], refused: Collection[int]) -> Division:
    """Divide by the places that the refusal names; without a valid place in halves.

    A single personalization is refused.
    """
    total = len(personalizations)
    places = {0} if total == 1 else {place for place in refused if place < total}
    if not places:
        middle = (total + 1) // 2
        return Division([], [list(personalizations[:middle]), list(personalizations[middle:])])
    named: list[Personalization] = []
    others: list[Personalization] = []
    for place, personalization in enumerate(personalizations):
        (named if place in places else others).append(personalization)
    return Division(named, [others] if others else [])


def max_requests(has_progressed: bool) -> int:
    """How many requests may follow the first. Progress: a part is accepted, or a personalization named."""
    return MAX_REQUESTS_WITH_PROGRESS if has_progressed else MAX_REQUESTS
