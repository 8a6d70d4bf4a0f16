"""The frame of every page: head, navigation, stylesheet and the script that refreshes parts of a page."""

import base64
import hashlib
from pathlib import Path

from fake_sendgrid.http_server import Response
from fake_sendgrid.website.markup import Markup, fill

_STYLE = Path(__file__).with_name("page.css").read_text()

_SCRIPT = Path(__file__).with_name("page.js").read_text()

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<link rel="icon" href="data:,">
<noscript><meta http-equiv="refresh" content="5"></noscript>
<style>$style</style>
</head>
<body>
<header><div><strong>fake_sendgrid <span>takes your mail, delivers none</span></strong>
<a href="/"$at_mails>Mails</a> <a href="/setup"$at_setup>Setup</a></div></header>
<main>$main</main>
<div class="away">The local SendGrid does not answer. Start it again; this page then goes on.</div>
<script>$script</script>
</body>
</html>
"""


def _source_hash(text: str) -> str:
    """The source expression that lets a policy allow an inline element."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


#: Nothing from elsewhere, and no page of another site around this one.
_POLICY = (
    f"default-src 'none'; style-src {_source_hash(_STYLE)}; script-src {_source_hash(_SCRIPT)}; "
    "img-src data:; connect-src 'self'; frame-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)

_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    # With no-referrer, browsers would send the buttons' forms without their origin.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def page(title: str, main: Markup, *, section: str = "mails", status: int = 200) -> Response:
    """A whole page. `section` is the place in the navigation: mails or setup."""
    here = Markup(' aria-current="page"')
    text = fill(
        _PAGE,
        title=f"{title} – fake_sendgrid",
        style=Markup(_STYLE),
        script=Markup(_SCRIPT),
        main=main,
        at_mails=here if section == "mails" else "",
        at_setup=here if section == "setup" else "",
    )
    return Response(status, {**_HEADERS, "Content-Security-Policy": _POLICY}, encoded(text))


def fragment(part: Markup) -> Response:
    """A part of a page, for its script."""
    return Response(
        200, {**_HEADERS, "Content-Security-Policy": "sandbox; default-src 'none'"}, encoded(part)
    )


def encoded(text: str) -> bytes:
    # JSON may hold halves of surrogate pairs.
    return text.encode(errors="replace")
