"""Responses with the content of a mail. A stranger may have written the content."""

import re

from django.http import HttpResponse
from django.utils.http import content_disposition_header

#: For the content alone, in place of the policy of the site. Django's middleware leaves a header that a
#: response has. The document gets an origin of its own: no script, no form, no cookie, no request.
POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"

# No policy stops this element: Chromium connects to any host for `<link rel="preconnect">`, which tells the
# sender that somebody reads the mail.
_LINK = re.compile(r"<(?=link[\s/>])", re.IGNORECASE)

#: Most characters of a file name.
MAX_NAME = 150


def html_document(html: str) -> HttpResponse:
    """The HTML as a document for a sandboxed frame of our own pages."""
    harmless = _LINK.sub("<no-", html)
    response = HttpResponse(harmless.encode("utf-8", "replace"), content_type="text/html; charset=utf-8")
    response["X-Frame-Options"] = "SAMEORIGIN"
    # Or the browser looks up the hosts of all links.
    response["X-DNS-Prefetch-Control"] = "off"
    return _sandboxed(response)


def download(content: bytes, filename: str) -> HttpResponse:
    """The content as a file to save. No browser shows the file, whatever the name says."""
    response = HttpResponse(content, content_type="application/octet-stream")
    response["Content-Disposition"] = content_disposition_header(True, safe_name(filename))
    response["X-Frame-Options"] = "DENY"
    return _sandboxed(response)


def safe_name(filename: str) -> str:
    """The name without folders, control characters, and characters that reorder the text.

    The end stays when the name is too long: the ending tells the kind of the file.
    """
    name = "".join(char if char.isprintable() and char not in "/\\" else "_" for char in filename)
    return name[-MAX_NAME:].strip(" .") or "attachment"


def _sandboxed(response: HttpResponse) -> HttpResponse:
    response["Content-Security-Policy"] = POLICY
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "no-store, private"
    response["Referrer-Policy"] = "no-referrer"
    return response
