"""Why a token does not open a webhook."""

#: Error codes of RFC 6750, section 3.1.
INVALID_TOKEN, INSUFFICIENT_SCOPE = "invalid_token", "insufficient_scope"


class TokenRefused(Exception):
    """The text begins with the code `error`, and repeats nothing of the token."""

    def __init__(self, error: str, why: str) -> None:
        super().__init__(f"{error}: {why}")
        self.error = error


class IssuerAway(Exception):
    """The issuer of the token gives no keys, so the token can be neither accepted nor refused."""
