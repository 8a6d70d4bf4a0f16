"""Verifies the signature of a webhook post.

SendGrid signs the timestamp header's text followed by the raw body, with ECDSA on P-256 and
SHA-256 (Twilio docs, "Getting Started with the Event Webhook Security Features"; for inbound mail "Securing
your Inbound Parse Webhook"). The body must be the received bytes: a parsed and rewritten body has a different
signature.
"""

import base64
import binascii
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

if TYPE_CHECKING:
    from hashlib import _Hash

SIGNATURE_HEADER = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP_HEADER = "X-Twilio-Email-Event-Webhook-Timestamp"

_ALGORITHM = ECDSA(Prehashed(SHA256()))


@lru_cache(maxsize=64)
def load_key(text: str) -> EllipticCurvePublicKey:
    """A public key in SendGrid's form (base64 on a single line) or as PEM.

    Raises ValueError with the fault of the key.
    """
    # An environment variable often holds PEM with backslash-n for each line end.
    lines = text.replace("\\n", "\n").split("\n")
    bare = "".join(line.strip() for line in lines if not line.startswith("-----"))
    try:
        key = load_der_public_key(base64.b64decode(bare, validate=True))
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        raise ValueError("not a public key: paste the verification key as SendGrid shows it") from None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError(
            "a public key, but not SendGrid's: SendGrid's keys are ECDSA keys on the curve P-256"
        )
    return key


def is_well_formed(*, timestamp: str, signature: str) -> bool:
    """Whether the signature is an ECDSA signature as base64 of DER, and the timestamp whole seconds."""
    # Whole seconds have ten digits until the year 2286. With a free length, an attacker could move digits of
    # the signed timestamp into the body.
    if not (len(timestamp) == 10 and timestamp.isascii() and timestamp.isdigit()):
        return False
    try:
        decode_dss_signature(base64.b64decode(signature, validate=True))
    except (ValueError, binascii.Error):
        return False
    return True


def verify(keys: Iterable[str], *, timestamp: str, signature: str, body: bytes) -> bool:
    """Whether a key of `keys` signed the timestamp and the body. False for a malformed signature.

    Raises ValueError for a malformed key.
    """
    running = begin(timestamp)
    running.update(body)
    return verify_digest(keys, timestamp=timestamp, signature=signature, digest=running.digest())


def begin(timestamp: str) -> "_Hash":
    """Start the digest of a signed post. The caller updates the digest with the body, chunk by chunk."""
    return sha256(timestamp.encode("utf-8", "replace"))


def verify_digest(keys: Iterable[str], *, timestamp: str, signature: str, digest: bytes) -> bool:
    """Like `verify`, with the finished digest of `begin`."""
    if not is_well_formed(timestamp=timestamp, signature=signature):
        return False
    der = base64.b64decode(signature)
    for key in keys:
        with suppress(InvalidSignature):
            load_key(key).verify(der, digest, _ALGORITHM)
            return True
    return False
