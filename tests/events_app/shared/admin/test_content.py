"""Content of mails in responses that can do nothing to the admin."""

import pytest
from django.http import HttpRequest, HttpResponse
from hypothesis import given
from hypothesis import strategies as st

from events_app.shared.admin import content


def test_html_of_a_mail_is_a_sandboxed_document() -> None:
    response = content.html_document("<b>Your order\ud800</b>")
    assert response.content == b"<b>Your order?</b>"
    assert response["Content-Type"] == "text/html; charset=utf-8"
    policy = response["Content-Security-Policy"].split("; ")
    assert policy == ["sandbox", "default-src 'none'", "img-src data:", "style-src 'unsafe-inline'"]
    assert response["X-Frame-Options"] == "SAMEORIGIN"
    assert response["Cache-Control"] == "no-store, private"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("html", "sent"),
    [
        ('<link rel="preconnect">', '<no-link rel="preconnect">'),
        ("<LINK\nrel=preconnect>", "<no-LINK\nrel=preconnect>"),
        ("<b><link/rel=preconnect>", "<b><no-link/rel=preconnect>"),
        ("<links> & <a>link </a>", "<links> & <a>link </a>"),
    ],
)
def test_html_of_a_mail_has_no_element_that_connects_to_a_host(html: str, sent: str) -> None:
    response = content.html_document(html)
    assert response.content.decode() == sent
    assert response["X-DNS-Prefetch-Control"] == "off"


def test_an_attachment_is_only_a_download() -> None:
    response = content.download(b"<script>", 'in"voice.html')
    assert response.content == b"<script>"
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"] == r'attachment; filename="in\"voice.html"'
    assert response["Content-Security-Policy"] == content.POLICY
    assert response["X-Frame-Options"] == "DENY"


def test_the_policy_of_the_site_does_not_replace_the_policy_of_content() -> None:
    csp = pytest.importorskip("django.middleware.csp", reason="Since Django 6.0")
    middleware = csp.ContentSecurityPolicyMiddleware(lambda _: HttpResponse())
    response = middleware.process_response(HttpRequest(), content.html_document(""))
    assert response["Content-Security-Policy"] == content.POLICY


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("invoice.pdf", "invoice.pdf"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("a\r\nSet-Cookie: b", "a__Set-Cookie: b"),
        ("txt\u202efdp.exe", "txt_fdp.exe"),
        ("x" * 300 + ".pdf", "x" * 146 + ".pdf"),
        (" . ", "attachment"),
        ("", "attachment"),
        ("Rechnung für Jörg.pdf", "Rechnung für Jörg.pdf"),
    ],
)
def test_file_names_are_made_safe(given_name: str, name: str) -> None:
    assert content.safe_name(given_name) == name


@given(st.text(st.characters(exclude_categories=[])))
def test_any_file_name_makes_a_header(name: str) -> None:
    assert content.download(b"", name)["Content-Disposition"].startswith("attachment; filename")
