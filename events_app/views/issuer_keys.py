"""The public keys of another issuer's tokens: a JSON Web Key Set (RFC 7517), fetched by URL and cached."""

import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

import jwt
import msgspec
import requests
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from events_app.shared.deadline import DeadlineExceeded, Threads
from events_app.shared.log.floods import limited_logger
from events_app.views.token_faults import IssuerAway

logger = limited_logger(__name__)

#: Seconds after which the keys are fetched again.
FRESH = 300.0
#: Seconds for which the keys are used while the issuer does not answer.
KEPT = 86400.0
#: Seconds between two fetches: a stranger's tokens name unknown keys.
PAUSE = 10.0
#: Seconds of a fetch. The webhook must answer within two.
DEADLINE = 1.5
#: Bytes of a key set, and the number of its keys.
LARGEST, MOST_KEYS = 256 * 1024, 32

#: Only public keys verify tokens. With HS256 a public key would be the secret of an attacker's signature
#: (RFC 8725, 2.1).
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_EC = {"secp256r1": ("ES256",), "secp384r1": ("ES384",), "secp521r1": ("ES512",)}
ALGORITHMS = frozenset([*_RSA, *(algorithm for names in _EC.values() for algorithm in names), "EdDSA"])


class Key(NamedTuple):
    id: str | None
    algorithms: tuple[str, ...]
    public: Any


class KeySet:
    """The keys under a URL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: tuple[Key, ...] = ()
        #: Monotonic seconds of the last success, and of the last attempt.
        self._fetched = self._tried = float("-inf")
        self._lock = threading.Lock()

    def find(self, key_id: str | None) -> list[Key]:
        """The keys with this id, or all keys without an id. Raises IssuerAway."""
        # Only after the start of a process do all posts wait for the keys. Later one post waits, so that
        # strangers' posts cannot hold every thread while the issuer is away.
        patience = DEADLINE if self._tried == float("-inf") else 0
        if self._is_due(key_id) and self._lock.acquire(timeout=patience):
            try:
                if self._is_due(key_id):
                    self._fetch()
            finally:
                self._lock.release()
        matching = self._matching(key_id)
        if not matching and time.monotonic() - self._fetched >= PAUSE:
            raise IssuerAway("the keys of the token's issuer are not available")
        return matching

    def _usable(self) -> tuple[Key, ...]:
        return self._keys if time.monotonic() - self._fetched < KEPT else ()

    def _matching(self, key_id: str | None) -> list[Key]:
        return [key for key in self._usable() if key_id in (None, key.id)]

    def _is_due(self, key_id: str | None) -> bool:
        now = time.monotonic()
        wanted = now - self._fetched >= FRESH or not self._matching(key_id)
        return wanted and now - self._tried >= PAUSE

    def _fetch(self) -> None:
        try:
            body = _threads.run(lambda: _download(self._url), DEADLINE)
            keys = tuple(public_keys(msgspec.json.decode(body, type=_KeySet).keys))
        except DeadlineExceeded:
            fault = f"no answer within {DEADLINE:g} seconds"
        except Exception as error:  # noqa: BLE001 (also urllib3's own; the next post must not try again at once)
            fault = str(error) if type(error) is ValueError else type(error).__name__
        else:
            fault = "" if keys else "it holds no usable key"
        self._tried = time.monotonic()
        if fault:
            logger.warning("The key set of WEBHOOK_OAUTH_JWKS_URL cannot be used: %s", fault)
        else:
            self._keys, self._fetched = keys, self._tried


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


def public_keys(candidates: Iterable[dict[str, Any]]) -> Iterable[Key]:
    """The public keys for signatures among the first keys of a set."""
    for candidate in list(candidates)[:MOST_KEYS]:
        key_id, use, named = candidate.get("kid"), candidate.get("use", "sig"), candidate.get("alg")
        is_named_well = named is None or (isinstance(named, str) and named in ALGORITHMS)
        if use != "sig" or not isinstance(key_id, str | None) or not is_named_well:
            continue
        with suppress(jwt.PyJWTError, ValueError, TypeError, LookupError, AttributeError):
            public = jwt.PyJWK(candidate).key
            algorithms = [name for name in _algorithms(public) if named in (None, name)]
            if algorithms:
                yield Key(key_id, tuple(algorithms), public)


def _algorithms(key: object) -> tuple[str, ...]:
    """The algorithms of a public key of a sound size."""
    if isinstance(key, RSAPublicKey) and 2048 <= key.key_size <= 8192:
        return _RSA
    if isinstance(key, EllipticCurvePublicKey):
        return _EC.get(key.curve.name, ())
    return ("EdDSA",) if isinstance(key, Ed25519PublicKey) else ()


def _download(url: str) -> bytes:
    """Raises ValueError with the fault of the answer, and any exception of requests or urllib3."""
    until = time.monotonic() + DEADLINE
    # Uncompressed: a small answer must not become a large one.
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    with requests.get(url, headers=headers, timeout=DEADLINE, stream=True, allow_redirects=False) as answer:
        if answer.status_code != requests.codes.ok:
            raise ValueError(f"the answer is {answer.status_code}")
        body = b""
        while chunk := answer.raw.read(1024, decode_content=False):
            body += chunk
            if len(body) > LARGEST:
                raise ValueError(f"it has more than {LARGEST} bytes")
            if time.monotonic() > until:
                raise ValueError("it comes too slowly")
    return body


_threads = Threads("keys of tokens", most_late=4)
_sets: dict[str, KeySet] = {}
# A lock that another thread holds during a fork stays locked in the child.
os.register_at_fork(after_in_child=_sets.clear)


def key_set(url: str) -> KeySet:
    """The key set under the URL, for the lifetime of the process."""
    return _sets.setdefault(url, KeySet(url))
