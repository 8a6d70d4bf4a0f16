"""The body of a merge to 1,000: ms from the message to the JSON of its request."""

from benchmarks.rounds import alternate, tell
from benchmarks.side import Side

#: Each in a process of its own, with settings of its own. Nothing is asked of a database.
BOTH = {
    "DJANGO_SECRET_KEY": "of a benchmark",
    "SENDGRID_API_KEY": "SG.fake",
    "DATABASE_URL": "sqlite://:memory:",
}
OURS = {**BOTH, "DJANGO_SETTINGS_MODULE": "project.settings"}
RIVAL = {**BOTH, "DJANGO_SETTINGS_MODULE": "benchmarks.rival_mail.settings"}

ROUNDS = 5


def main() -> None:
    sides = Side("benchmarks.merging", OURS, "ours"), Side("benchmarks.merging", RIVAL, "rival")
    with sides[0] as ours, sides[1] as rival:
        tell(*alternate(ours, rival, ROUNDS))


if __name__ == "__main__":
    main()
