"""The Signed Event Webhook's check. The vectors were made with throw-away keys; each says what it shows."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from events_app.views.signature import begin, is_well_formed, load_key, verify, verify_digest
from tests.support.events.webhook_requests import PEM, PUBLIC_KEY, SENDER, VECTORS, each_vector, vector_body


def shown(key: PublicKeyTypes) -> str:
    """A key in the form SendGrid shows its own."""
    return base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


@each_vector
def test_verify_agrees_with_each_vector(vector: dict[str, Any]) -> None:
    timestamp, signature = vector["timestamp"], vector["signature"]
    verified = verify(vector["keys"], timestamp=timestamp, signature=signature, body=vector_body(vector))
    assert verified is vector["valid"]


@each_vector
def test_verify_digest_of_a_chunked_body_agrees_with_each_vector(vector: dict[str, Any]) -> None:
    timestamp, signature, body = vector["timestamp"], vector["signature"], vector_body(vector)
    running = begin(timestamp)
    for at in range(0, len(body), 7):
        running.update(body[at : at + 7])
    digest = running.digest()
    verified = verify_digest(vector["keys"], timestamp=timestamp, signature=signature, digest=digest)
    assert verified is vector["valid"]


def test_vectors_cover_valid_and_invalid_signatures() -> None:
    assert len(VECTORS) == 17
    assert sum(vector["valid"] for vector in VECTORS) == 7


@pytest.mark.parametrize(
    "key",
    [
        PUBLIC_KEY,
        f" {PUBLIC_KEY}\n",
        PEM,
        PEM.replace("\n", "\\n"),
        PEM.replace("\n", "\r\n"),
        PUBLIC_KEY[:64] + "\n" + PUBLIC_KEY[64:],
    ],
    ids=["bare", "spaces", "PEM", "PEM with literal backslash-n", "PEM with CRLF", "two lines"],
)
def test_every_form_of_a_public_key_is_accepted(key: str) -> None:
    headers = SENDER.headers(b"[]", 1784000000)
    signature = headers["X-Twilio-Email-Event-Webhook-Signature"]
    assert verify([key], timestamp="1784000000", signature=signature, body=b"[]")
    assert not verify([key], timestamp="1784000000", signature=signature, body=b"[1]")


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("", "not a public key"),
        ("SG.an-api-key", "not a public key"),
        (PUBLIC_KEY[:-8], "not a public key"),
        (PUBLIC_KEY[1:], "not a public key"),
        ("schlüssel", "not a public key"),
        (PEM.replace("-", ""), "not a public key"),
        (
            base64.b64encode(
                base64.b64decode(PUBLIC_KEY)[:21] + b"\x02" + base64.b64decode(PUBLIC_KEY)[22:]
            ).decode(),
            "not a",
        ),
        (shown(rsa.generate_private_key(65537, 2048).public_key()), "but not SendGrid's"),
        (shown(ec.generate_private_key(ec.SECP384R1()).public_key()), "but not SendGrid's"),
    ],
    ids=[
        "empty",
        "API key",
        "cut",
        "cut in front",
        "not ASCII",
        "broken PEM",
        "no known curve",
        "RSA",
        "another curve",
    ],
)
def test_an_invalid_public_key_raises_an_error_that_does_not_quote_it(key: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as raised:
        load_key(key)
    assert not key or key not in str(raised.value)


def test_an_invalid_key_raises_even_when_another_key_matches() -> None:
    signature = SENDER.headers(b"[]", 1784000000)["X-Twilio-Email-Event-Webhook-Signature"]
    with pytest.raises(ValueError, match="not a public key"):
        verify(["nonsense", PUBLIC_KEY], timestamp="1784000000", signature=signature, body=b"[]")


def test_verify_without_keys_is_false() -> None:
    vector = VECTORS[0]
    assert not verify(
        [], timestamp=vector["timestamp"], signature=vector["signature"], body=vector_body(vector)
    )


def test_a_timestamp_moved_into_the_body_does_not_verify() -> None:
    signature = SENDER.headers(b"[]", 1784000000)["X-Twilio-Email-Event-Webhook-Signature"]
    assert not verify([PUBLIC_KEY], timestamp="", signature=signature, body=b"1784000000[]")


@pytest.mark.parametrize("kept", range(10))
def test_part_of_a_timestamp_moved_into_the_body_does_not_verify(kept: int) -> None:
    signature = SENDER.headers(b"[]", 1784000000)["X-Twilio-Email-Event-Webhook-Signature"]
    timestamp, moved = "1784000000"[:kept], "1784000000"[kept:]
    assert not verify([PUBLIC_KEY], timestamp=timestamp, signature=signature, body=f"{moved}[]".encode())


GOOD = SENDER.headers(b"[]", 1784000000)["X-Twilio-Email-Event-Webhook-Signature"]


@each_vector
def test_only_vectors_with_malformed_signatures_are_not_well_formed(vector: dict[str, Any]) -> None:
    well_formed = is_well_formed(timestamp=vector["timestamp"], signature=vector["signature"])
    assert well_formed is not vector["case"].endswith(("_base64", "_der", "_empty"))


@pytest.mark.parametrize(
    "timestamp",
    [
        *("", "1", "178400000", "17840000000", "1784000000.5", "-784000000", "+784000000", " 178400000"),
        *("178400000 ", "1_78400000", "١٧٨٤٠٠٠٠٠٠", "1784000000\n", "0x17840000", "17840000²0"),
    ],
)
def test_a_timestamp_other_than_ten_digits_is_malformed(timestamp: str) -> None:
    assert not is_well_formed(timestamp=timestamp, signature=GOOD)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "x",
        "***",
        GOOD[:-4],
        GOOD[4:],
        GOOD + "\n",
        base64.b64encode(b"x" * 71).decode(),
        "ünï" + GOOD[4:],
    ],
    ids=["empty", "short", "characters", "cut", "cut in front", "line end", "no DER", "not ASCII"],
)
def test_a_signature_other_than_base64_of_der_is_malformed(signature: str) -> None:
    assert not is_well_formed(timestamp="1784000000", signature=signature)


@given(st.text(max_size=100), st.text(max_size=100), st.binary(max_size=100))
def test_verify_never_raises_for_any_headers_and_body(timestamp: str, signature: str, body: bytes) -> None:
    assert verify([PUBLIC_KEY], timestamp=timestamp, signature=signature, body=body) is False


@given(st.binary(max_size=100))
def test_verify_never_raises_for_any_signature_bytes(der: bytes) -> None:
    signature = base64.b64encode(der).decode()
    assert verify([PUBLIC_KEY], timestamp="1784000000", signature=signature, body=b"[]") is False


@given(st.binary(max_size=200), st.integers(10**9, 10**10 - 1))
def test_any_signed_body_verifies(body: bytes, at: int) -> None:
    signature = SENDER.headers(body, at)["X-Twilio-Email-Event-Webhook-Signature"]
    assert verify([PUBLIC_KEY], timestamp=str(at), signature=signature, body=body)
