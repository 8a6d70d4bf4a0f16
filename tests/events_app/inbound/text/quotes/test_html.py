"""The quoted mail is left out of a reply's HTML. The markup of the new words is unchanged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.inbound.text.quotes import MOST_LINES, MOST_TAGS, without_quotes_html

INTRO = "On Thu, 12 Feb 2026 at 13:40, Zoë Customer &lt;zoe@example.org&gt; wrote:"
MAILTO = '&lt;<a href="mailto:zoe@example.org">zoe@example.org</a>&gt;'

GMAIL = (
    '<div class="gmail_quote gmail_quote_container"><div dir="ltr" class="gmail_attr">{}<br></div>'
    '<blockquote class="gmail_quote" style="margin:0px"><div dir="ltr">earlier</div></blockquote></div>'
)
OUTLOOK_LINE = (
    "<div><div style='border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0in 0in 0in'>"
    "<p class=MsoNormal><b>X:</b> Zoë<br><b>Y:</b> Bob</p></div></div>"
    "<p class=MsoNormal>earlier<o:p></o:p></p></div>"
)
PROGRAMS = {
    "Gmail": (
        '<div dir="ltr">Yes.<div><br></div></div><br>' + GMAIL.format(INTRO),
        '<div dir="ltr">Yes.</div>',
    ),
    "Gmail, unknown language": (
        '<div dir="ltr">Yes.</div><br>' + GMAIL.format("Zoë qq"),
        '<div dir="ltr">Yes.</div>',
    ),
    "Gmail, forwarded": (
        '<div dir="ltr">Yes.<br><br><div class="gmail_quote"><div dir="ltr" class="gmail_attr">'
        "---------- Forwarded message ---------<br>Van: Zoë<br></div><br><br>earlier</div></div>",
        '<div dir="ltr">Yes.</div>',
    ),
    "Gmail, 2015": (
        '<div dir="ltr">Yes.</div><div class="gmail_extra"><br><div class="gmail_quote">'
        f'2015-10-18 0:17 GMT+03:00 Zoë <span dir="ltr">{MAILTO}</span>:<br>'
        '<blockquote class="gmail_quote">earlier</blockquote></div></div>',
        '<div dir="ltr">Yes.</div>',
    ),
    "Outlook": (
        '<html><head><style>p {}</style></head><body lang=EN><div class="WordSection1">'
        "<p class=MsoNormal>Yes.<o:p></o:p></p><p class=MsoNormal><o:p>&nbsp;</o:p></p>"
        + OUTLOOK_LINE
        + "</body></html>",
        '<html><head><style>p {}</style></head><body lang=EN><div class="WordSection1">'
        "<p class=MsoNormal>Yes.<o:p></o:p></p></div></body></html>",
    ),
    "Outlook on the web": (
        '<body><div>Yes.</div><div id="appendonsend"></div><hr style="display:inline-block;width:98%">'
        '<div id="divRplyFwdMsg" dir="ltr"><font><b>X:</b> Zoë</font><div>&nbsp;</div></div>'
        "<div>earlier</div></body>",
        "<body><div>Yes.</div></body>",
    ),
    "Outlook on the web, header block": (
        '<div>Yes.</div><hr><div id="x_divRplyFwdMsg"><b>X:</b> Zoë</div><div>earlier</div>',
        "<div>Yes.</div>",
    ),
    "Outlook for Mac": (
        '<div>Yes.</div><div id="mail-editor-reference-message-container"><div>X: Zoë</div>'
        "<div>earlier</div></div>",
        "<div>Yes.</div>",
    ),
    "Outlook, a table": (
        "<p>Yes.</p><table><tr><td>From:</td><td>Zoë</td></tr><tr><td>Sent:</td><td>Thursday 13:40</td></tr>"
        "<tr><td>Subject:</td><td>Order</td></tr></table><p>earlier</p>",
        "<p>Yes.</p>",
    ),
    "Apple": (
        '<html><body style="word-wrap: break-word">Yes.<br><div><br>'
        '<blockquote type="cite"><div>Zoë qq:</div>'
        '<br class="Apple-interchange-newline"><div>earlier</div></blockquote></div><br></body></html>',
        '<html><body style="word-wrap: break-word">Yes.</body></html>',
    ),
    "Apple, iOS": (
        '<div dir="ltr">Yes.</div><div dir="ltr"><br>'
        f'<blockquote type="cite">{INTRO}<br><br></blockquote></div>'
        '<blockquote type="cite"><div dir="ltr">earlier</div></blockquote>',
        '<div dir="ltr">Yes.</div>',
    ),
    "Thunderbird": (
        '<p>Yes.</p><div class="moz-cite-prefix">Zoë qq:<br></div>'
        '<blockquote type="cite" cite="mid:1@x"><p>earlier</p></blockquote>',
        "<p>Yes.</p>",
    ),
    "Thunderbird, signature": (
        '<p>Yes.</p><div class="moz-cite-prefix">Zoë qq:<br></div>'
        '<blockquote type="cite"><p>earlier</p></blockquote>'
        '<pre class="moz-signature" cols="72">-- \nBob</pre>',
        "<p>Yes.</p>",
    ),
    "Roundcube": (
        '<p>Yes.</p><p id="reply-intro">Zoë qq:</p><blockquote type="cite">earlier</blockquote>',
        "<p>Yes.</p>",
    ),
    "Yahoo": (
        "<div>Yes.</div><div><br></div></div>"
        '<div id="ydp1yahoo_quoted_1" class="ydp1 yahoo_quoted"><div>Zoë qq:</div>'
        "<div><br></div><div>earlier</div></div>",
        "<div>Yes.</div></div>",
    ),
    "Proton Mail": (
        '<div>Yes.</div><div class="protonmail_quote">Zoë qq:<br>'
        '<blockquote class="protonmail_quote" type="cite">earlier</blockquote></div>',
        "<div>Yes.</div>",
    ),
    "Zoho": (
        f'<div>Yes.</div><div class="zmail_extra"><div>---- {INTRO}</div>earlier</div>',
        "<div>Yes.</div>",
    ),
    "an attribution alone": (f"<p>Yes.</p><p>{INTRO}</p><p>earlier</p>", "<p>Yes.</p>"),
    "plain text": (f"<pre>Yes.\n\n{INTRO}\n&gt; earlier\n</pre>", "<pre>Yes.\n</pre>"),
    "line breaks": (f"Yes.<br><br>{INTRO}<br>&gt; earlier<br>", "Yes."),
    "an image": (
        f'<p>Yes.</p><img src="cid:logo"><p>{INTRO}</p><p>earlier</p>',
        '<p>Yes.</p><img src="cid:logo">',
    ),
}


@pytest.mark.parametrize(("html", "expected"), PROGRAMS.values(), ids=PROGRAMS)
def test_the_words_above_a_quote_stay(html: str, expected: str) -> None:
    assert without_quotes_html(html) == expected


BELOW = {
    "Gmail": (
        '<div dir="ltr">' + GMAIL.format("Zoë qq")[:-6] + "<div>Yes.</div></div></div>",
        '<div dir="ltr"><div class="gmail_quote gmail_quote_container"><div>Yes.</div></div></div>',
    ),
    "Apple": (
        '<html><head></head><body><blockquote type="cite"><div>Zoë qq:</div><div>earlier</div></blockquote>'
        "<br><div>Yes.</div></body></html>",
        "<html><head></head><body><div>Yes.</div></body></html>",
    ),
    "Thunderbird": (
        '<div class="moz-cite-prefix">Zoë qq:<br></div>'
        '<blockquote type="cite"><p>earlier</p></blockquote><p>Yes.</p>',
        "<p>Yes.</p>",
    ),
    "Yahoo": ('<div class="yahoo_quoted"><p>earlier</p></div><p>Yes.</p>', "<p>Yes.</p>"),
    "a block quote": (f"<p>{INTRO}</p><blockquote>earlier</blockquote><p>Yes.</p>", "<p>Yes.</p>"),
    "words above, too": (
        f"<p>Hello,</p><p>{INTRO}</p><blockquote>earlier</blockquote><p>Yes.</p>",
        "<p>Hello,</p><p>Yes.</p>",
    ),
}


@pytest.mark.parametrize(("html", "expected"), BELOW.values(), ids=BELOW)
def test_the_words_below_a_quote_stay(html: str, expected: str) -> None:
    assert without_quotes_html(html) == expected


def test_answers_between_quoted_lines_stay_with_the_lines() -> None:
    prefix = '<div class="moz-cite-prefix">Zoë qq:</div>'
    answers = (
        '<blockquote type="cite">a question</blockquote><p>yes</p>'
        '<blockquote type="cite">another</blockquote><p>no</p>'
    )
    rest = '<blockquote type="cite">rest</blockquote>'
    assert without_quotes_html(f"{prefix}{answers}{rest}") == answers
    assert without_quotes_html(f"<p>See below.</p>{prefix}{answers}") == f"<p>See below.</p>{answers}"


@pytest.mark.parametrize(
    "html",
    [
        "<p>Thanks!</p>",
        "<P CLASS=a>as it <b>is",
        "",
        "text",
        "<p>own</p><blockquote style='margin-left:40px'>indented</blockquote>",
        "<blockquote>indented</blockquote><p>own</p>",
        "<p>As Kant wrote:</p><blockquote>Sapere aude!</blockquote><p>own</p>",
        "<p>a</p><p><br></p><p>&nbsp;</p>",
        "<title>On 1 May 2026, 10:11, A wrote:</title><style>On 1 May 2026, 10:11, A wrote:</style><p>a</p>",
        "<!-- On 1 May 2026, 10:11, A wrote: --><p>a</p>",
        "<p title='gmail_attr'>class=gmail_attr</p>",
        "a < b and c > d",
        '<a href="x>y">z</a>',
    ],
)
def test_html_without_a_quote_is_unchanged(html: str) -> None:
    assert without_quotes_html(html) == html
    assert without_quotes_html(f"{html}\r\n") == html


@pytest.mark.parametrize(
    "html",
    [
        GMAIL.format(INTRO),
        '<body><blockquote type="cite">earlier</blockquote></body>',
        '<div id="appendonsend"></div><p>From: Zoë</p>',
        '<div class="yahoo_quoted">earlier</div>',
    ],
)
def test_a_quote_alone_has_no_new_words(html: str) -> None:
    assert without_quotes_html(html) == ""


def test_unmarked_words_below_an_attribution_alone_stay() -> None:
    html = f"<p>{INTRO}</p><p>Does Thursday work?</p><p>Yes.</p>"
    assert without_quotes_html(html) == html


@pytest.mark.parametrize("lines", [MOST_LINES - 2, MOST_LINES, MOST_LINES * 3])
def test_long_html_without_a_quote_is_kept_whole(lines: int) -> None:
    html = "<p>line</p>" * lines
    assert without_quotes_html(html) == html


def test_a_short_reply_above_long_quoted_html_is_kept_alone() -> None:
    html = "<p>Yes.</p><p>On 1 May 2026, 10:11, A wrote:</p>" + "<p>line</p>" * MOST_LINES * 2
    assert without_quotes_html(html) == "<p>Yes.</p>"


def test_html_over_the_size_limit_is_kept() -> None:
    html = "<p>Yes.</p><p>On 1 May 2026, 10:11, A wrote:</p>" + "<p>line</p>" * 100_000
    assert without_quotes_html(html) == html


def test_html_of_many_tags_is_kept() -> None:
    html = "<p>Yes.</p><p>On 1 May 2026, 10:11, A wrote:</p>" + "<b></b>" * (MOST_TAGS // 2)
    assert without_quotes_html(html) == html


@pytest.mark.parametrize(
    "tag",
    [
        "<p " + " ".join(f"a{at}" for at in range(10_000)) + ">",
        "<p " + " ".join(f'a{at}=">"' for at in range(10_000)) + ">",
        "<p " + " ".join(map(chr, range(0x4E00, 0x4E00 + 10_000))) + ">",
        "<\x01p>",
        "<a@b.example>",
        "<b:1></b:1>",
        "<p a=b=c='d' e>",
        "<p/a/b = 'c'>",
        "<!doctype html>",
        "<?xml?>",
        "<!-->",
        "<!-- <p> -- > -->",
        "</ p>",
        "<>",
        "<script>On 1 May 2026, 10:11, A wrote:</scripts></script >",
    ],
    ids=lambda tag: repr(tag[:20]),
)
def test_odd_tags_are_read(tag: str) -> None:
    reply = f"<p>Yes.</p>{tag}<b>Bob</b>"
    assert without_quotes_html(f"{reply}<p>On 1 May 2026, 10:11, A wrote:</p><p>x</p>") == reply


@pytest.mark.parametrize("tag", ["<p a='", '<p a="', "<p a=b", "<!--", "<style>", "<script><p>", "<!", "</p"])
def test_a_tag_without_an_end_goes_on_to_the_end(tag: str) -> None:
    html = f"<p>Yes.</p>{tag}<p On 1 May 2026, 10:11, A wrote:</p<p x"
    assert without_quotes_html(html) == html


PIECES = st.sampled_from(
    [
        *(
            "<p>",
            "</p>",
            "<div>",
            "</div>",
            "<br>",
            "word",
            " ",
            "<!--",
            "-->",
            "<b",
            '"',
            "'",
            ">",
            "=",
            "&lt;",
        ),
        *(
            '<blockquote type="cite">',
            "</blockquote>",
            INTRO,
            "<td>",
            "<style>",
            "</style>",
            "<pre>",
            "\n",
            "<img>",
        ),
        *('<div class="gmail_attr">', '<div id="appendonsend">', "</html>", "<hr>"),
    ]
)


@given(st.lists(PIECES, max_size=25))
def test_only_parts_of_the_html_are_left(pieces: list[str]) -> None:
    html = "".join(pieces)
    stripped = without_quotes_html(html)
    rest = iter(html)
    assert all(character in rest for character in stripped)
    assert ("word" in stripped) <= ("word" in html)
