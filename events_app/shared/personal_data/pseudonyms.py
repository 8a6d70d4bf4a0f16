"""Pseudonyms of erased persons: keyed digests of their addresses."""

from hashlib import blake2b

from django.core.exceptions import ImproperlyConfigured

from events_app.shared.addresses import comparable
from events_app.shared.personal_data.domains import in_ascii
from events_app.shared.setting import Setting, kind, register, text

#: Characters that the key must have: 32 random bytes as hex digits have 64.
LEAST_KEY = 32

#: A command that prints a key.
MAKE_KEY = "python3 -c 'import secrets; print(secrets.token_hex(32))'"

#: The beginning of each pseudonym.
PREFIX = "erased-"
_DOMAIN = "@erased.invalid"


@kind(f"text of {LEAST_KEY} characters or more")
def _key(value: object) -> str:
    key = text(value)
    if key and len(key) < LEAST_KEY:
        raise ValueError(f"must have {LEAST_KEY} characters or more. Make a key with {MAKE_KEY}")
    return key


# Not SECRET_KEY, which a project may change.
PERSONAL_DATA_KEY = Setting(
    "PERSONAL_DATA_KEY",
    "",
    _key,
    meaning="The key of the pseudonyms of [erased persons](personal-data.md#erase-a-person). Without one "
    "nobody can be erased. Keep it: with another key later events and suppressions no longer find "
    f"these persons. Make one with `{MAKE_KEY}`.",
)

SETTINGS = register(globals())


def pseudonym(address: str) -> str:
    """The address that stands for the erased address. Raises ImproperlyConfigured without a key.

    Both spellings of an internationalized domain have one pseudonym. Who has the key and the address can
    compute the pseudonym; nobody can compute the address.
    """
    key = PERSONAL_DATA_KEY.get()
    if not key:
        raise ImproperlyConfigured(
            f"{PERSONAL_DATA_KEY.places()[0]} is not set, the key of the pseudonyms of erased persons. "
            f"Make a key with {MAKE_KEY}, and keep it."
        )
    same = in_ascii(comparable(address)).encode(errors="surrogatepass")
    # A key of BLAKE2b has 64 bytes at most.
    digest = blake2b(same, digest_size=16, key=_short(key))
    return f"{PREFIX}{digest.hexdigest()}{_DOMAIN}"


def is_pseudonym(address: str) -> bool:
    return address.startswith(PREFIX) and address.endswith(_DOMAIN)


def _short(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=64).digest()
