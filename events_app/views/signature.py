"""Is this body SendGrid's? The check of a signed webhook, on bytes alone.

SendGrid signs the timestamp header's text followed by the raw body, with ECDSA on P-256 and
SHA-256 (Twilio docs, "Getting Started with the Event Webhook Security Features"; the same for inbound mail,
"Securing your Inbound Parse Webhook"). The body must be the received bytes: parsing and writing it again
breaks the signature.
"""

import base64
import binascii
from collections.abc import Iterable
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


@lru_cache(maxsize=64)
def load_key(text: str) -> EllipticCurvePublicKey:
    """A public key as SendGrid shows it (base64 on one line) or as PEM.

    Raises ValueError saying what is wrong with it.
    """
    # An environment variable often holds PEM with its line ends written as backslash-n.
    lines = text.replace("\\n", "\n").split("\n")
    bare = "".join(line.strip() for line in lines if not line.startswith("-----"))
    try:
        key = load_der_public_key(base64.b64decode(bare, validate=True))
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        raise ValueError("not a public key: paste the verification key as SendGrid shows it") from None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("a public key, but not one of SendGrid's: those are ECDSA keys on the curve P-256")
    return key


def is_well_formed(*, timestamp: str, signature: str) -> bool:
    """Whether they have the form of SendGrid's: an ECDSA signature as base64 of DER, and whole seconds."""
    # Whole seconds have ten digits until the year 2286. With a free length, the body could begin with a part
    # of the timestamp that was signed.
    if not (len(timestamp) == 10 and timestamp.isascii() and timestamp.isdigit()):
        return False
    try:
        decode_dss_signature(base64.b64decode(signature, validate=True))
    except (ValueError, binascii.Error):
        return False
    return True


def verify(keys: Iterable[str], *, timestamp: str, signature: str, body: bytes) -> bool:
    """Whether any of `keys` signed this timestamp and body. A malformed signature is a plain no.

    Raises ValueError for a key that is none.
    """
    running = begin(timestamp)
    running.update(body)
    return verify_digest(keys, timestamp=timestamp, signature=signature, digest=running.digest())


def begin(timestamp: str) -> "_Hash":
    """The digest that SendGrid signs, to be fed with the body: for one that is not held in memory."""
    return sha256(timestamp.encode("utf-8", "replace"))


def verify_digest(keys: Iterable[str], *, timestamp: str, signature: str, digest: bytes) -> bool:
    """As `verify`, with what became of `begin`."""
    if not is_well_formed(timestamp=timestamp, signature=signature):
        return False
    der = base64.b64decode(signature)
    return any(_signed_by(load_key(key), der, digest) for key in keys)


def _signed_by(key: EllipticCurvePublicKey, der: bytes, digest: bytes) -> bool:
    try:
        key.verify(der, digest, ECDSA(Prehashed(SHA256())))
    except InvalidSignature:
        return False
    return True
