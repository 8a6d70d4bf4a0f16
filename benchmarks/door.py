"""`door`: a signed post of 1,000 events, a receiver that does nothing."""

from benchmarks import deployments, rounds
from benchmarks.side import Side


def compare(receiver: str, *, posts: tuple[int, int], times: int) -> None:
    """Our view beside the rival's with that receiver; `posts` a round of either.

    Ours calls no receiver, whatever is connected: workers do.
    """
    ours, rival = deployments.ours().env, deployments.rival(receiver).env
    with (
        Side("benchmarks.view", ours, str(posts[0])) as our_view,
        Side("benchmarks.view", rival, str(posts[1])) as rival_view,
    ):
        rounds.tell(*rounds.alternate(our_view, rival_view, times))


if __name__ == "__main__":
    compare("nothing", posts=(20, 20), times=6)
