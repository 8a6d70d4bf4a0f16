"""Access tokens of another issuer: JWTs (RFC 7519, RFC 9068) that the issuer's public keys verify."""

from collections.abc import Sequence
from typing import Any

import jwt

from events_app.views import issuer_keys
from events_app.views.token_faults import INVALID_TOKEN, TokenRefused

#: Seconds by which the issuer's clock and ours may differ.
LEEWAY = 60

#: Characters of a token. An issuer's tokens have one or two thousand.
LONGEST = 8192


def scopes_of(token: str, *, issuer: str, audience: Sequence[str], key_set_url: str) -> frozenset[str]:
    """The scopes of an authentic token. Raises TokenRefused and IssuerAway."""
    if len(token) > LONGEST:
        raise TokenRefused(INVALID_TOKEN, "the token is too long")
    try:
        header = jwt.get_unverified_header(token)
        algorithm, key_id = header.get("alg"), header.get("kid")
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise TokenRefused(INVALID_TOKEN, "the token is malformed") from None
    # Before the keys are asked for.
    if not isinstance(algorithm, str) or algorithm not in issuer_keys.ALGORITHMS:
        raise TokenRefused(INVALID_TOKEN, "the token's algorithm is not accepted")
    keys = issuer_keys.key_set(key_set_url).find(key_id)
    why = "the token is signed with no key of the issuer"
    for key in keys:
        if algorithm not in key.algorithms:
            continue
        try:
            claims = jwt.decode(
                token,
                key.public,
                algorithms=[algorithm],
                issuer=issuer,
                audience=audience,
                leeway=LEEWAY,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.InvalidSignatureError:
            continue
        except jwt.ExpiredSignatureError:
            raise TokenRefused(INVALID_TOKEN, "the token has expired") from None
        except (jwt.InvalidIssuerError, jwt.InvalidAudienceError):
            raise TokenRefused(
                INVALID_TOKEN, "the token is from another issuer, or for another audience"
            ) from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            why = "the token's claims are unusable"
            continue
        return _scopes(claims)
    raise TokenRefused(INVALID_TOKEN, why)


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    """`scope` of RFC 9068, `scp` of Okta, and `roles` of Entra ID, which gives clients no scopes."""
    scopes: set[str] = set()
    for name in ("scope", "scp", "roles"):
        claim = claims.get(name)
        names = claim.split() if isinstance(claim, str) else claim
        scopes.update(scope for scope in names if isinstance(scope, str)) if isinstance(names, list) else None
    return frozenset(scopes)
