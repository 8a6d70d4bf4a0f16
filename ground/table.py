"""Figures of the demo beside what they must be."""


def check(*rows: tuple[str, int, int]) -> bool:
    """Print what was counted and what was expected; whether all of it agrees."""
    print(f"\n  {'what happened':<34}{'count':>7}{'expected':>10}")
    for what, found, expected in rows:
        print(f"  {what:<34}{found:>7}{expected:>10}  {'ok' if found == expected else 'WRONG'}")
    print(flush=True)
    return all(found == expected for _, found, expected in rows)
