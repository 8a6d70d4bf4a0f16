"""The content ids in the `cid:` URLs of HTML."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.inbound.text.cid_urls import LONGEST_URL, MOST_URLS, content_ids


@pytest.mark.parametrize(
    ("source", "content_id"),
    [
        ('<img src="cid:image001.png@01DC1234.5678">', "image001.png@01DC1234.5678"),
        ("<img src='cid:a@b' alt='x'>", "a@b"),
        ("<img src=cid:a@b>", "a@b"),
        ("<img src=cid:a@b alt=x>", "a@b"),
        ('<IMG SRC="CID:A@b">', "A@b"),
        ('<img src=" cid:a@b ">', "a@b"),
        ('<img src="cid:a%20b%40c">', "a b@c"),
        ('<img src="cid:a%b@c">', "a%b@c"),
        ('<img src="cid:100%25@c">', "100%25@c"),
        ('<img src="cid:a&amp;b@c">', "a&b@c"),
        ('<img src="cid:a&#64;b">', "a@b"),
        ('<img src="cid&#58;a@b">', "a@b"),
        ('<img src="cid&#x3A;a@b">', "a@b"),
        ('<img src="cid:image (1).png">', "image (1).png"),
        ('<img src="cid:o\'neil@b">', "o'neil@b"),
        ("<style>p { background: url(cid:a@b) }</style>", "a@b"),
        ("<style>p { background: url( 'cid:a@b' ) }</style>", "a@b"),
        ('<p style="background: url(cid:a@b) no-repeat">', "a@b"),
        ("<p style=\"background: url('cid:a(1)@b') no-repeat\">", "a(1)@b"),
        ('<p style="background: url(&quot;cid:a@b&quot;) no-repeat">', "a@b"),
        ("<p style='background: url(&#39;cid:a@b&#39;)'>", "a@b"),
        ('<td background="cid:a@b">', "a@b"),
        ('<v:imagedata src="cid:a@b"/>', "a@b"),
        ('<img srcset="cid:a@b 1x, cid:c@d 2x">', "c@d"),
        ('<img src="cid:ü@b">', "ü@b"),
        ('<img src="cid:%C3%BC@b">', "ü@b"),
    ],
)
def test_a_content_id_is_found(source: str, content_id: str) -> None:
    assert content_id in content_ids(source)


@pytest.mark.parametrize(
    "source", ["", "<p>cid</p>", '<img src="https://a@b">', '<img src="cid:A@b">', "cid: "]
)
def test_no_other_content_id_is_found(source: str) -> None:
    assert "a@b" not in content_ids(source)


def test_a_url_without_a_content_id_names_none() -> None:
    assert content_ids('<img src="cid:"><img src=cid:><p style="a: url(cid:)">') == {")"}


def test_a_content_id_has_the_length_of_a_header_line_at_most() -> None:
    longest = "a" * LONGEST_URL
    assert longest in content_ids(f'"cid:{longest}"')
    assert f"{longest}a" not in content_ids(f'"cid:{longest}a"')


def test_only_the_first_urls_are_read() -> None:
    ids = content_ids("".join(f'"cid:{number}"' for number in range(MOST_URLS + 1)))
    assert str(MOST_URLS - 1) in ids
    assert str(MOST_URLS) not in ids


bits = st.sampled_from(
    ["cid:", "CID&#58;", "&#", "9" * 5000, "&amp", ";", "%", "%C3", "%zz", "'", '"', ")", " ", "<", "ü", "a"]
)


@given(st.lists(bits, max_size=30).map("".join), st.integers(1, 20))
def test_any_html_is_read(source: str, times: int) -> None:
    for content_id in content_ids(source * times):
        assert len(content_id) <= LONGEST_URL
