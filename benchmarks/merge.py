"""`merge`: milliseconds from a message with 1,000 recipients to the JSON of its request."""

from benchmarks.rounds import alternate, report
from benchmarks.side import Side

#: Settings of both sides. Each side has its own process. No database is used.
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
        report(*alternate(ours, rival, ROUNDS))


if __name__ == "__main__":
    main()
