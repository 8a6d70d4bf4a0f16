"""How many examples hypothesis makes of a costly test."""

import hypothesis

#: Names of the profiles: `./dev test` runs with FEW, `./dev test --all` with ALL.
ALL = "all"
FEW = "few"


def examples(most: int) -> int:
    """`most` under the profile ALL, a fifth of it under FEW."""
    return most if hypothesis.settings.get_current_profile_name() == ALL else most // 5
