"""Describes an error of Redis in a line that says what to set.

redis-py wraps a failed TLS handshake in its ConnectionError, and kombu wraps that in its OperationalError.
"""

import os
import ssl
from collections.abc import Iterator

from redis import AuthenticationError, RedisError
from redis.exceptions import NoPermissionError
from redis.sentinel import MasterNotFoundError

# X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL's x509_vfy.h.
_OTHER_NAME = (62, 64)

_LONGEST = 200


def describe(error: BaseException) -> str:
    """A line about the error, without a password.

    Other servers' errors have their first line: further lines of a database may quote values.
    """
    return advice(error) or f"{type(error).__name__}: {error}".partition("\n")[0][:_LONGEST]


def advice(error: BaseException) -> str:
    """What to set against the error, if that is known; else, and for errors of other servers, empty."""
    causes = list(_causes(error))
    if not any(isinstance(cause, RedisError) for cause in causes):
        return ""
    return next(filter(None, map(_advice, causes)), "")


def system_error(error: BaseException) -> str:
    """The words of the operating system below the error, such as "Connection refused"; else empty."""
    # By the number: the text of an error may be anything.
    numbers = (cause.errno for cause in _causes(error) if isinstance(cause, OSError))
    return next((os.strerror(number) for number in numbers if number and number > 0), "")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _advice(error: BaseException) -> str:
    match error:
        case ssl.SSLError():
            return _advice_on_tls(error)
        case FileNotFoundError() | PermissionError():
            return f"a file that the URL names cannot be used ({error.strerror})"
        case MasterNotFoundError():
            # redis-py's own text quotes the options of each connection, in 6.4 with the password. The errors
            # of the sentinels are not among the causes.
            return (
                "no sentinel can be asked, or none knows a working master of the name in the URL. Are the "
                "sentinels' addresses, password and certificate right?"
            )
        case AuthenticationError():
            return f"Redis refuses the user or the password of the URL ({error})"
        case NoPermissionError():
            return f"an ACL of Redis forbids what this needs ({error})"
    return ""


def _advice_on_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.rstrip(".")
        if error.verify_code in _OTHER_NAME:
            return (
                f"the certificate of Redis is for another name ({why}). Write a name of the certificate into "
                "the URL, or add ssl_check_hostname=false"
            )
        return f"the certificate of Redis is not trusted ({why}). Add ssl_ca_certs=/path/of/CA.pem to the URL"
    # An error that does not come from OpenSSL lacks both.
    library, reason = getattr(error, "library", None), getattr(error, "reason", None) or error.strerror
    if library not in ("SSL", None):  # such as X509 and PEM: OpenSSL could not read a file
        return f"a file that the URL names cannot be used ({reason})"
    if "CERTIFICATE_REQUIRED" in str(reason):
        return "Redis requires a client certificate. Add ssl_certfile=... and ssl_keyfile=... to the URL"
    return f"TLS with Redis failed ({reason}). Does the port speak TLS?"
