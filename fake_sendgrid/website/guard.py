"""Refuses what a web page of another site sends through the developer's browser."""

from urllib.parse import urlsplit

from fake_sendgrid.http_server import Request

_LOCAL_NAMES = {"127.0.0.1", "localhost"}
_SAFE_METHODS = {"GET"}


def refusal(request: Request) -> str | None:
    """Return why the request is refused, or None.

    A name of another site that resolves to 127.0.0.1 (DNS rebinding) comes in the Host header. Browsers name
    the page that sends a request in Origin and Sec-Fetch-Site. Programs other than browsers send neither.
    """
    host = request.headers.get("Host", "")
    # Any port: the port may be forwarded.
    if _name(host) not in _LOCAL_NAMES:
        return "Open this page by 127.0.0.1 or localhost; other names are refused."
    if request.method in _SAFE_METHODS:
        return None
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    if (origin is not None and origin != f"http://{host}") or site not in ("same-origin", "none"):
        return "This came from a page of another site."
    return None


def _name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
