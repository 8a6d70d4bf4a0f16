"""`merge_suppressed`: milliseconds of `send()` of a merge to 1,000, with suppression and without.

With it, a million addresses are suppressed, none of which is in the merge.
"""

from benchmarks import deployments
from benchmarks.rounds import alternate, report
from benchmarks.side import Side

ROUNDS = 7


def main() -> None:
    on, off = (deployments.suppressing(is_on, SENDGRID_API_KEY="SG.fake") for is_on in (True, False))
    with Side("benchmarks.sending", on.env) as with_it, Side("benchmarks.sending", off.env) as without:
        report(*alternate(with_it, without, ROUNDS))


if __name__ == "__main__":
    main()
