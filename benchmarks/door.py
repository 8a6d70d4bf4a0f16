"""`door`: milliseconds of the webhook view for a signed post of 1,000 events; the receiver does nothing."""

from benchmarks import deployments, rounds
from benchmarks.side import Side


def compare(receiver: str, *, posts: tuple[int, int], times: int) -> None:
    """Compare our view with the rival's view and its `receiver`. A round has `posts` posts of each.

    Our view never calls receivers; workers do.
    """
    ours, rival = deployments.ours().env, deployments.rival(receiver).env
    with (
        Side("benchmarks.view", ours, str(posts[0])) as our_view,
        Side("benchmarks.view", rival, str(posts[1])) as rival_view,
    ):
        rounds.report(*rounds.alternate(our_view, rival_view, times))


if __name__ == "__main__":
    compare("nothing", posts=(20, 20), times=6)
