"""The URL of a Redis or Valkey: a server, the sentinels that know the server, or a socket.

    redis[s]://[user:password@]host[:6379][/0]
    sentinel[s]://[user:password@]host[:26379],host[:26379],...[/0]?master_name=NAME
    unix://[user:password@]/path[?db=0]

`valkey://` and `valkeys://` are other names of the first form. User and password are those of the server;
those of the sentinels are options. A name that ends with `s` means TLS.

redis-py and kombu read such URLs themselves, but not alike: kombu does not verify the certificate of a bare
`rediss://`, neither has a form for sentinels in a single URL, and the errors of both may quote a password.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

#: By scheme: the kind of address, and whether the connections use TLS.
_SCHEMES = {
    "redis": ("redis", False),
    "rediss": ("redis", True),
    "valkey": ("redis", False),
    "valkeys": ("redis", True),
    "sentinel": ("sentinel", False),
    "sentinels": ("sentinel", True),
    "unix": ("unix", False),
}

_DEFAULT_PORTS = {"redis": 6379, "sentinel": 26379}

#: Celery's documentation has the names in capitals for its result backends.
_CERT_REQS = {
    **{name: name for name in ("required", "optional", "none")},
    **{f"CERT_{name.upper()}": name for name in ("required", "optional", "none")},
}

_TLS_OPTIONS = (
    *("ssl_ca_certs", "ssl_cert_reqs", "ssl_check_hostname"),
    *("ssl_certfile", "ssl_keyfile", "ssl_password"),
)
_SENTINEL_OPTIONS = ("master_name", "sentinel_username", "sentinel_password")

_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<name>[^\[\]:;\s]*))(?::(?P<port>\d{1,5}))?")

_NEXT_URL = re.compile(r";[a-zA-Z][\w+]*://")

_ENCODE = (
    "In a user or a password, percent-encode everything but letters and digits: "
    """python3 -c 'from urllib.parse import quote; print(quote(input(), safe=""))'"""
)


@dataclass(frozen=True)
class RedisURL:
    """The parts of a URL. The text forms of this class show no password."""

    #: "redis", "sentinel" or "unix".
    kind: str
    #: Host and port of the server, or of each sentinel. Empty for a socket.
    hosts: tuple[tuple[str, int], ...]
    database: int
    #: The path of a socket.
    path: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    master_name: str = ""
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)
    #: redis-py's options for TLS, `ssl_cert_reqs` among them; empty without TLS.
    tls: dict[str, str | bool] = field(default_factory=dict, repr=False)


def is_redis(url: str) -> bool:
    """Whether the URL has one of the forms above. kombu's own list of URLs, with `;` between, has not."""
    return url.partition("://")[0].lower() in _SCHEMES and not _NEXT_URL.search(url)


def parse(url: str) -> RedisURL:
    """Parse the URL. Raises ValueError, with a message that quotes nothing of the URL."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in _SCHEMES:
        raise ValueError(f"must begin with {', '.join(f'{known}://' for known in _SCHEMES)}")
    kind, tls = _SCHEMES[scheme.lower()]
    address, _, query = rest.partition("?")
    userinfo, _, place = address.rpartition("@")
    if "#" in rest or set(userinfo) & set("/[]"):
        raise ValueError(f"has a character that a URL may not have there. {_ENCODE}")
    hosts, slash, path = place.partition("/")
    options = _options(query, kind, tls)
    username, _, password = userinfo.partition(":")
    return RedisURL(
        kind=kind,
        hosts=() if kind == "unix" else tuple(_hosts(hosts, kind)),
        database=_database(options.pop("db", "") if kind == "unix" else path),
        path=_socket(hosts, slash + path) if kind == "unix" else "",
        username=unquote(username),
        password=unquote(password),
        **{name: options.pop(name) for name in _SENTINEL_OPTIONS if name in options},
        tls=_tls(options) if tls else {},
    )


def _hosts(text: str, kind: str) -> Iterator[tuple[str, int]]:
    hosts = text.split(",")
    if len(hosts) > 1 and kind != "sentinel":
        raise ValueError("has several hosts: only sentinel:// and sentinels:// may")
    for host in hosts:
        match = _HOST.fullmatch(host)
        port = int(match["port"] or _DEFAULT_PORTS[kind]) if match else 0
        if not match or not 0 < port < 65536 or (len(hosts) > 1 and not host):
            raise ValueError(f"has no readable host and port. {_ENCODE}")
        yield match["ipv6"] or unquote(match["name"]) or "localhost", port


def _database(text: str) -> int:
    if text and not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(f"must end with the number of a database, such as /0. {_ENCODE}")
    return int(text or 0)


def _socket(host: str, path: str) -> str:
    if host or len(path) < 2:
        raise ValueError("must have the absolute path of a socket, after three slashes: unix:///path")
    return unquote(path)


def _options(query: str, kind: str, tls: bool) -> dict[str, str]:
    known = [
        *(_SENTINEL_OPTIONS if kind == "sentinel" else ()),
        *(_TLS_OPTIONS if tls else ()),
        *(("db",) if kind == "unix" else ()),
    ]
    try:
        options = dict(parse_qsl(query, strict_parsing=True)) if query else {}
    except ValueError:
        raise ValueError(f"has no readable options after the question mark. {_ENCODE}") from None
    if options.keys() - set(known):
        # Without the name: it may be a part of a password.
        meant = f"The options are: {', '.join(known)}." if known else "There are none for this scheme."
        with_tls = "" if tls or kind == "unix" else " Options for TLS need rediss:// or sentinels://."
        raise ValueError(f"has an unknown option after the question mark. {meant}{with_tls}")
    if kind == "sentinel" and not options.get("master_name"):
        raise ValueError("must name the master that the sentinels know: ?master_name=NAME")
    return options


def _tls(options: dict[str, str]) -> dict[str, str | bool]:
    requirement = options.get("ssl_cert_reqs", "required")
    checks_hostname = options.get("ssl_check_hostname", "true").lower()
    if requirement not in _CERT_REQS:
        raise ValueError("must have ssl_cert_reqs=required, optional or none")
    if checks_hostname not in ("true", "false"):
        raise ValueError("must have ssl_check_hostname=true or false")
    return {
        **options,
        "ssl_cert_reqs": _CERT_REQS[requirement],
        # Python refuses a context that checks the name of a certificate it does not verify.
        "ssl_check_hostname": checks_hostname == "true" and _CERT_REQS[requirement] != "none",
    }
