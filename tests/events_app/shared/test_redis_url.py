"""The forms of a URL of Redis, and errors that quote nothing of it."""

import string
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.shared.redis_url import is_redis, parse

SECRET = "f6c0b58d"

VERIFIED = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}


@pytest.mark.parametrize(
    ("url", "host", "port", "database"),
    [
        ("redis://redis.example.com:6380/3", "redis.example.com", 6380, 3),
        ("redis://redis.example.com", "redis.example.com", 6379, 0),
        ("redis://10.0.0.1/", "10.0.0.1", 6379, 0),
        ("redis://[2001:db8::1]:6380/3", "2001:db8::1", 6380, 3),
        ("redis:///3", "localhost", 6379, 3),
        ("VALKEY://redis.example.com/3", "redis.example.com", 6379, 3),
        ("valkeys://redis.example.com/3", "redis.example.com", 6379, 3),
    ],
)
def test_a_server(url: str, host: str, port: int, database: int) -> None:
    found = parse(url)
    assert (found.hosts, found.database) == (((host, port),), database)


@given(username=st.text(), password=st.text())
def test_any_user_and_password_once_encoded(username: str, password: str) -> None:
    found = parse(f"redis://{quote(username, safe='')}:{quote(password, safe='')}@redis.example.com/0")
    assert (found.username, found.password) == (username, password)
    assert found.hosts == (("redis.example.com", 6379),)


def test_user_and_password_may_be_missing() -> None:
    found = parse("redis://redis.example.com/0")
    assert (found.username, found.password) == ("", "")


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_tls_is_verified_by_default(scheme: str) -> None:
    assert parse(f"{scheme}://redis.example.com/0").tls == VERIFIED


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_no_tls_without_an_s(scheme: str) -> None:
    assert parse(f"{scheme}://redis.example.com/0").tls == {}


@pytest.mark.parametrize(
    ("query", "changed"),
    [
        ("ssl_cert_reqs=required", {}),
        ("ssl_cert_reqs=CERT_REQUIRED", {}),
        ("ssl_cert_reqs=none", {"ssl_cert_reqs": "none", "ssl_check_hostname": False}),
        ("ssl_cert_reqs=CERT_NONE", {"ssl_cert_reqs": "none", "ssl_check_hostname": False}),
        ("ssl_check_hostname=False", {"ssl_check_hostname": False}),
        ("ssl_ca_certs=/etc/a%20b.pem", {"ssl_ca_certs": "/etc/a b.pem"}),
        (
            "ssl_certfile=/c.pem&ssl_keyfile=/k.pem&ssl_password=p%26",
            {"ssl_certfile": "/c.pem", "ssl_keyfile": "/k.pem", "ssl_password": "p&"},
        ),
    ],
)
def test_options_for_tls(query: str, changed: dict[str, object]) -> None:
    assert parse(f"rediss://redis.example.com/0?{query}").tls == VERIFIED | changed


def test_sentinels() -> None:
    found = parse(
        "sentinel://app:s3cret@a.example.com,b.example.com:26380,[::1]:26381/2"
        "?master_name=events&sentinel_username=asker&sentinel_password=p%40ss"
    )
    assert found.hosts == (("a.example.com", 26379), ("b.example.com", 26380), ("::1", 26381))
    assert (found.username, found.password, found.database) == ("app", "s3cret", 2)
    assert (found.master_name, found.sentinel_username, found.sentinel_password) == (
        "events",
        "asker",
        "p@ss",
    )
    assert found.tls == {}
    assert parse("sentinels://a.example.com/2?master_name=events").tls == VERIFIED


def test_a_socket() -> None:
    found = parse("unix://:p%40ss@/run/valkey.sock?db=2")
    assert (found.path, found.password, found.database) == ("/run/valkey.sock", "p@ss", 2)
    assert parse("unix:///run/valkey.sock").database == 0


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        (f"{SECRET}", "must begin with redis://, rediss://, valkey://"),
        (f"redis.example.com:6379/{SECRET}", "must begin with"),
        (f"http://:{SECRET}@redis.example.com/0", "must begin with"),
        *(
            (f"redis://:{SECRET}{character}{SECRET}@redis.example.com:6379/0", "percent-encode")
            for character in "/?#[]"
        ),
        ("redis://:12/34@redis.example.com:6379/0", "percent-encode"),
        ("redis://:12#34@redis.example.com:6379/0", "percent-encode"),
        ("redis://:12?34@redis.example.com:6379/0", "percent-encode"),
        (f"redis://:{SECRET}@redis.example.com:port/0", "no readable host and port"),
        (f"redis://:{SECRET}@redis.example.com:0/0", "no readable host and port"),
        (f"redis://:{SECRET}@redis.example.com:65536/0", "no readable host and port"),
        (f"redis://:{SECRET}@redis.example.com:6379/events", "the number of a database"),
        (f"redis://:{SECRET}@redis.example.com:6379/0/1", "the number of a database"),
        (f"redis://:{SECRET}@a.example.com,b.example.com/0", "has several hosts"),
        (f"redis://:{SECRET}@redis.example.com/0?decode_responses=1", "an unknown option"),
        (f"redis://:{SECRET}@redis.example.com/0?ssl_ca_certs=/ca.pem", "need rediss:// or sentinels://"),
        (f"rediss://:{SECRET}@redis.example.com/0?ssl_ca_cert=/ca.pem", "The options are: ssl_ca_certs,"),
        (f"rediss://:{SECRET}@redis.example.com/0?ssl_ca_certs", "no readable options"),
        (
            f"rediss://:{SECRET}@redis.example.com/0?ssl_cert_reqs=no",
            "ssl_cert_reqs=required, optional or none",
        ),
        (f"rediss://:{SECRET}@redis.example.com/0?ssl_check_hostname=1", "ssl_check_hostname=true or false"),
        (f"sentinel://:{SECRET}@a.example.com/0", "must name the master"),
        (f"sentinel://:{SECRET}@a.example.com,/0?master_name=m", "no readable host"),
        (f"sentinel://:{SECRET}@a.example.com;sentinel://b.example.com/0?master_name=m", "no readable host"),
        (f"unix://:{SECRET}@run/valkey.sock", "the absolute path of a socket"),
        (f"unix://:{SECRET}@/run/valkey.sock?db=one", "the number of a database"),
    ],
)
def test_an_error_says_what_is_wrong_and_quotes_nothing(url: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault) as raised:
        parse(url)
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None


@contextmanager
def messages() -> Iterator[list[str]]:
    """The message of a ValueError, if there is one."""
    errors: list[str] = []
    try:
        yield errors
    except ValueError as error:
        errors.append(str(error))


@given(
    st.sampled_from(["redis", "rediss", "sentinel", "unix", "foo"]),
    st.text(string.printable),
    st.text(string.printable),
)
def test_no_error_quotes_a_password(scheme: str, before: str, after: str) -> None:
    with messages() as errors:
        parse(f"{scheme}://:{before}{SECRET}{after}@redis.example.com:6379/0")
    assert SECRET not in "".join(errors)


def test_no_text_of_a_url_has_a_password() -> None:
    found = parse(
        f"sentinels://u:{SECRET}@a/0?master_name=m&sentinel_password={SECRET}&ssl_password={SECRET}"
    )
    assert SECRET not in f"{found} {found!r}"


def test_lists_of_kombu_are_not_ours() -> None:
    assert is_redis("rediss://redis.example.com/0")
    assert is_redis("redis://:p;p@redis.example.com/0")
    assert not is_redis("sentinel://a;sentinel://b")
    assert not is_redis("redis://:p@a:6379/0;rediss://b")
    assert not is_redis("amqp://a")
