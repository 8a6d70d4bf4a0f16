"""Routes of inbound mail by the recipients of the envelope."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.dispatch import receiver

from events_app.inbound.message import InboundMessage
from events_app.routes import Route
from events_app.signals import InboundEvent, InboundSignal

HERE = __name__


def support(**_: Any) -> None: ...


def sales(**_: Any) -> None: ...


def plain(**_: Any) -> None: ...


def other_plain(**_: Any) -> None: ...


def local() -> Callable[..., None]:
    def inner(**_: Any) -> None: ...

    return inner


def event(*recipients: str) -> InboundEvent:
    message = InboundMessage()
    message.envelope_recipients = list(recipients)
    return InboundEvent(message=message)


def chosen(signal: InboundSignal, *recipients: str) -> list[str]:
    names = [each.name for each in signal.named_receivers(None)]
    return [name.removeprefix(f"{HERE}.") for name in signal.chosen(event(*recipients), names)]


@pytest.mark.parametrize(
    ("pattern", "recipient"),
    [
        ("support@example.com", "support@example.com"),
        ("support@example.com", "Support@EXAMPLE.com"),
        ("Support@Example.com", "support@example.com"),
        ("support+*@example.com", "support+12@example.com"),
        ("support+*@example.com", "support+@example.com"),
        ("support*@example.com", "support+12@example.com"),
        ("support@*", "support@a.example.com"),
        ("*@example.com", "a.b+c@example.com"),
        ("*.example.com", "a@b.example.com"),
        ("*", "a@b"),
        ("ü@example.com", "ü@example.com"),
        ("*@bücher.example", "a@xn--bcher-kva.example"),
        ("*@bücher.example", "a@XN--Bcher-KVA.example"),
        ("*@BÜCHER.example", "a@bücher.example"),
        ("*@bu\u0308cher.example", "a@xn--bcher-kva.example"),
        ("*@xn--bcher-kva.example", "a@bücher.example"),
        ("*@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ("*@*cher.example", "a@xn--bcher-kva.example"),
        ("*@xn--a.example", "a@xn--a.example"),
        # Only "*" stands for other text.
        ("a[b]@x.example", "a[b]@x.example"),
        ("a?@x.example", "a?@x.example"),
        ("a@[192.0.2.1]", "a@[192.0.2.1]"),
        ("a@[IPv6:2001:db8::1]", "a@[ipv6:2001:db8::1]"),
        ("[!a]*@x.example", "[!a]1@x.example"),
        ('"a b"@x.example', '"a b"@x.example'),
        ('"a@b"@*', '"a@b"@x.example'),
        ("support*", "support@example.com"),
        (re.compile(r"ticket-(\d+)@example\.com"), "ticket-12@example.com"),
        (re.compile(r"A@.*", re.IGNORECASE), "a@b"),
    ],
)
def test_a_route_takes_a_recipient(pattern: str | re.Pattern[str], recipient: str) -> None:
    assert Route(pattern).takes(recipient)
    assert Route(["x@y", pattern]).takes(recipient)


@pytest.mark.parametrize(
    ("pattern", "recipient"),
    [
        ("support@example.com", "support@example.com.evil.example"),
        ("support@example.com", "xsupport@example.com"),
        ("support@example.com", "support@exampleXcom"),
        ("support@example.com", "support+1@example.com"),
        ("support@example.com", "support@example.com\n"),
        ("support+*@example.com", "support@example.com"),
        ("kim@example.com", "\u212aim@example.com"),
        ("support@example.com", ""),
        ("a[b]@x.example", "ab@x.example"),
        ("a?@x.example", "ab@x.example"),
        ("*@bücher.example", "a@bucher.example"),
        ("ü*@x.example", "Ü1@x.example"),
        (re.compile("a@b"), "a@bc"),
        (re.compile("a@b"), "A@b"),
    ],
)
def test_a_route_takes_no_other_recipient(pattern: str | re.Pattern[str], recipient: str) -> None:
    assert not Route(pattern).takes(recipient)


@pytest.mark.parametrize(
    "patterns",
    [
        *([], "support", "", ["a@b", "support"], "a@b ", " a@b", "A <a@b>", "<a@b>", "a@b,c@d", "a@b;c@d"),
        *("@", "@b", "a@", "@*", "*@", "a@b@*", "mailto:a@b", "a b@*", "a@b\n", '"a', "*, a@b"),
    ],
)
def test_a_pattern_that_matches_no_address_raises(patterns: str | list[str], inbound: InboundSignal) -> None:
    with pytest.raises(ValueError, match=r"at least one|whole address"):
        inbound.connect(support, to=patterns)
    assert inbound.named_receivers(None) == []


def test_the_error_of_a_pattern_names_a_pattern_that_would_match() -> None:
    with pytest.raises(ValueError, match=r"'support@\*'"):
        Route("support")
    for pattern in ("", "a b"):
        with pytest.raises(ValueError, match=r"'support@example\.com'"):
            Route(pattern)


@pytest.mark.parametrize("pattern", [re.compile(b"a@b"), b"a@b", 3, None])
def test_a_pattern_of_a_wrong_type_raises(pattern: Any, inbound: InboundSignal) -> None:
    with pytest.raises(TypeError, match="regular expression of text"):
        inbound.connect(support, to=[pattern])
    with pytest.raises(TypeError, match="regular expression of text"):
        Route(pattern)


def test_a_long_recipient_is_matched_in_linear_time() -> None:
    assert not Route("*a*a*a*a*a*a*a*b@*").takes("a" * 20_000)


def test_the_receivers_whose_route_takes_a_recipient_are_chosen(inbound: InboundSignal) -> None:
    inbound.connect(plain)
    inbound.connect(support, to=["support@example.com", "support+*@example.com"])
    inbound.connect(other_plain)
    inbound.connect(sales, to="s*@example.com")
    assert chosen(inbound, "sales@example.com") == ["sales"]
    assert chosen(inbound, "support+1@example.com") == ["support", "sales"]
    assert chosen(inbound, "x@example.com") == ["plain", "other_plain"]
    assert chosen(inbound) == ["plain", "other_plain"]


def test_each_recipient_is_routed_alone_and_each_receiver_chosen_once(inbound: InboundSignal) -> None:
    inbound.connect(plain)
    inbound.connect(sales, to="sales@*")
    inbound.connect(support, to="support@*")
    assert chosen(inbound, "support@a", "sales@a", "support@b") == ["sales", "support"]
    assert chosen(inbound, "support@a", "x@a") == ["plain", "support"]


def test_without_routes_every_receiver_is_chosen(inbound: InboundSignal) -> None:
    inbound.connect(plain)
    inbound.connect(other_plain)
    assert chosen(inbound, "a@b") == chosen(inbound) == ["plain", "other_plain"]


def test_the_decorator_connects_a_route(inbound: InboundSignal) -> None:
    @receiver(inbound, to="support@*", dispatch_uid="decorated")
    def decorated(**_: Any) -> None: ...

    inbound.connect(plain)
    assert chosen(inbound, "support@a") == ["decorated"]
    assert inbound.disconnect(dispatch_uid="decorated")
    assert chosen(inbound, "support@a") == ["plain"]


def test_a_route_ends_with_its_receiver(inbound: InboundSignal) -> None:
    routed = local()
    inbound.connect(routed, to="support@*")
    inbound.disconnect(routed)
    successor, other = local(), plain
    inbound.connect(successor)
    inbound.connect(other)
    assert len(chosen(inbound, "support@a")) == 2


def test_a_receiver_is_connected_to_one_set_of_recipients(inbound: InboundSignal) -> None:
    inbound.connect(support, to=["a@b", re.compile("c@d")])
    inbound.connect(support, to=["a@b", re.compile("c@d")])
    for to in ("a@b", None):
        with pytest.raises(ValueError, match=r"Connect it once: connect\(\.\.\., to="):
            inbound.connect(support, to=to)
    assert chosen(inbound, "c@d") == ["support"]
    inbound.connect(plain)
    with pytest.raises(ValueError, match="Connect it once"):
        inbound.connect(plain, to="a@b")
    assert chosen(inbound, "a@x") == ["plain"]


def test_receivers_with_derived_names_have_routes_of_their_own(inbound: InboundSignal) -> None:
    one, other, neither = local(), local(), local()
    inbound.connect(one, to="one@*")
    inbound.connect(other, to="other@*")
    inbound.connect(neither)
    name = "local.<locals>.inner"
    assert chosen(inbound, "one@a") == [name]
    assert chosen(inbound, "other@a") == [f"{name}#2"]
    assert chosen(inbound, "x@a") == [f"{name}#3"]
    with pytest.raises(ValueError, match="Connect it once"):
        inbound.connect(other, to="one@*")
    inbound.disconnect(one)
    assert chosen(inbound, "one@a") == [f"{name}#3"]
    inbound.connect(one)
    assert chosen(inbound, "one@a") == [f"{name}#3", name]
