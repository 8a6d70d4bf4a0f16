"""A link says who unsubscribes from which stream, to nobody but us, and only for a time."""

import base64
import time
from collections.abc import Callable
from unittest import mock
from uuid import UUID

import pytest
from django.core.signing import dumps
from hypothesis import given
from hypothesis import settings as examples_of
from hypothesis import strategies as st
from pytest_django import Settings

from sending_app.unsubscribe_links import ExpiredLink, InvalidLink, Link, make_url, read_token
from tests.support.examples import examples
from tests.support.sending.unsubscribe_links import MESSAGE_ID, PREFIX, link, token_of

DAY = 86_400

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=100)

links = st.builds(Link, texts, texts, st.uuids().map(str))


@given(links)
@examples_of(max_examples=examples(200))
def test_a_link_comes_back_from_its_token(written: Link) -> None:
    assert read_token(token_of(written)) == written


@given(links, st.data())
@examples_of(max_examples=examples(200))
def test_a_token_with_another_character_is_refused(written: Link, data: st.DataObject) -> None:
    token = token_of(written)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda character: character != token[at]))
    with pytest.raises(InvalidLink):
        read_token(f"{token[:at]}{other}{token[at + 1 :]}")


@given(st.text(max_size=300))
@examples_of(max_examples=examples(200))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidLink):
        read_token(text)


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: f"{t}A", lambda t: f"{t}=", lambda t: f"!{t}"]
)
def test_a_token_with_more_or_fewer_characters_is_refused(change: Callable[[str], str]) -> None:
    for number in range(16):  # addresses of several lengths, because padding hides some changes
        with pytest.raises(InvalidLink):
            read_token(change(token_of(link(f"{'a' * number}@example.com"))))


def test_a_url_is_short_and_shows_no_address() -> None:
    url = make_url(Link("ann.of.the.long.name@subdomain.example.com", "newsletter", MESSAGE_ID), PREFIX)
    assert url.startswith(f"{PREFIX}unsubscribe/")
    assert len(url) < 300
    token = url.rpartition("/")[2]
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert b"ann" not in base64.urlsafe_b64decode(f"{token}==")


def test_two_tokens_of_a_link_differ() -> None:
    assert token_of() != token_of()


@pytest.mark.parametrize(
    ("seconds", "expired"), [(-3600, False), (30 * DAY - 60, False), (30 * DAY + 60, True)]
)
def test_a_link_expires(anymail: Callable[..., None], seconds: int, expired: bool) -> None:
    """A clock that is behind the clock of the sender changes nothing."""
    anymail(UNSUBSCRIBE_DAYS=30)
    token = token_of()
    with mock.patch.object(time, "time", return_value=time.time() + seconds):
        if expired:
            with pytest.raises(ExpiredLink):
                read_token(token)
        else:
            assert read_token(token) == link()


def test_links_of_an_earlier_secret_key_work_while_it_is_a_fallback(settings: Settings) -> None:
    settings.SECRET_KEY = "the earlier key"
    token = token_of()
    settings.SECRET_KEY = "the later key"
    with pytest.raises(InvalidLink):
        read_token(token)
    settings.SECRET_KEY_FALLBACKS = ["the earlier key"]
    assert read_token(token) == link()
    new = token_of()
    settings.SECRET_KEY_FALLBACKS = []
    assert read_token(new) == link()


def test_a_token_for_another_purpose_is_refused() -> None:
    for foreign in (dumps("ann@example.com"), str(UUID(int=1)), ""):
        with pytest.raises(InvalidLink):
            read_token(foreign)
