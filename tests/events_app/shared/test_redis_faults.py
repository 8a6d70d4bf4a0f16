"""What the log says of an error of Redis. `tests/workers/test_broker.py` has those of real TLS servers."""

import ssl

from kombu.exceptions import OperationalError
from redis import AuthenticationError, ResponseError
from redis import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError
from redis.sentinel import MasterNotFoundError

from events_app.shared.redis_faults import advice, describe


def untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = 20, "unable to get local issuer certificate"
    return error


def raised_from(cause: Exception, error: Exception) -> Exception:
    try:
        try:
            raise cause
        except Exception:  # noqa: BLE001 (as redis-py does)
            raise error  # noqa: B904 (as redis-py does)
    except type(error) as caught:
        return caught


def test_the_reason_is_found_below_the_errors_of_redis_py_and_kombu() -> None:
    inner = raised_from(untrusted(), RedisConnectionError("Error 1 connecting to redis.example.com:6379."))
    expected = (
        "the certificate of Redis is not trusted (unable to get local issuer certificate). Add "
        "ssl_ca_certs=/path/of/CA.pem to the URL"
    )
    assert describe(inner) == expected
    assert describe(raised_from(inner, OperationalError("Error 1"))) == expected


def test_errors_of_tls_with_other_servers_have_no_advice_about_redis() -> None:
    error = raised_from(untrusted(), OperationalError("of RabbitMQ"))
    assert advice(error) == ""
    assert describe(error) == "OperationalError: of RabbitMQ"


def test_a_required_client_certificate() -> None:
    alert = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED]")
    alert.library, alert.reason = "SSL", "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    assert "Add ssl_certfile=... and ssl_keyfile=..." in describe(
        raised_from(alert, RedisConnectionError("x"))
    )


def test_a_handshake_that_ends_early() -> None:
    cause = ssl.SSLEOFError(8, "EOF occurred in violation of protocol")
    assert describe(raised_from(cause, RedisConnectionError("x"))) == (
        "TLS with Redis failed (EOF occurred in violation of protocol). Does the port speak TLS?"
    )


def test_sentinels_do_not_quote_their_passwords() -> None:
    """redis-py 6.4 names all options of each connection."""
    error = MasterNotFoundError(
        "No master found for 'events' : <Redis(...password=s3cret)> - ConnectionError"
    )
    assert describe(error).startswith("no sentinel can be asked, or none knows a working master of the name")
    assert "s3cret" not in describe(error)


def test_a_refused_user_and_a_refused_command_keep_the_reason() -> None:
    assert "the password of the URL (Authentication required.)" in describe(
        AuthenticationError("Authentication required.")
    )
    assert "(User events has no permissions)" in describe(NoPermissionError("User events has no permissions"))


def test_other_errors_have_a_line() -> None:
    error = ResponseError("OOM command not allowed\nmore")
    assert describe(error) == "ResponseError: OOM command not allowed"
    assert len(describe(ResponseError("x" * 1000))) == 200
