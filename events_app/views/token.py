"""The token view: gives SendGrid access tokens by the client credentials grant (RFC 6749, 4.4)."""

import base64
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ImproperlyConfigured
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.utils.crypto import constant_time_compare
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from events_app import conf
from events_app.shared.log.floods import limited_logger
from events_app.views import basic_auth, own_tokens
from events_app.views.authentication import usable_entries
from events_app.views.base import WebhookResponse

logger = limited_logger(__package__)

#: Bytes of a request's body.
LARGEST = 4096


class _TokenError(Exception):
    """An error of RFC 6749, 5.2. The text repeats nothing of the request."""

    def __init__(self, error: str, why: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(why)
        self.error = error
        self.status = status


@method_decorator([csrf_exempt, login_not_required, non_atomic_requests], name="dispatch")
class SendGridTokenView(View):
    """Gives a client of `WEBHOOK_OAUTH_CLIENTS` a token for the webhooks.

    It asks neither the database nor Redis. SendGrid does not document how it sends the client's secret, so
    the view takes the secret in the Authorization header or in the body.
    """

    http_method_names = ["post"]  # noqa: RUF012 (as Django has it)

    def post(self, request: HttpRequest) -> HttpResponse:
        try:
            clients = conf.OAUTH_CLIENTS.get()
            if not clients:
                return _text(HTTPStatus.NOT_FOUND, f"{conf.OAUTH_CLIENTS.name} is not set on this server")
            sound = usable_entries(conf.OAUTH_CLIENTS, "entry", clients, basic_auth.check_secret)
            return _json(HTTPStatus.OK, _token(request, sound))
        except _TokenError as error:
            text, reason = "Request for a token refused with %s: %s", str(error)
            logger.warning(text, error.error, reason, extra={"_kind": (text, reason)})
            answer = _json(error.status, {"error": error.error, "error_description": str(error)})
            if error.status == HTTPStatus.UNAUTHORIZED:
                answer["WWW-Authenticate"] = 'Basic realm="token"'
            return answer
        except ImproperlyConfigured as error:
            logger.error("A setting is unusable: %s", error)
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, "a setting here is unusable")


def _text(status: HTTPStatus, text: str) -> HttpResponse:
    return WebhookResponse(f"{text}\n", status=status, content_type="text/plain")


def _json(status: HTTPStatus, content: dict[str, Any]) -> HttpResponse:
    # RFC 6749, 5.1
    headers = {"Cache-Control": "no-store", "Pragma": "no-cache"}
    return WebhookResponse(
        json.dumps(content), status=status, content_type="application/json", headers=headers
    )


def _token(request: HttpRequest, clients: list[str]) -> dict[str, Any]:
    """A token for the client of the request. Raises _TokenError."""
    parameters = _parameters(request)
    client = _client(request.META.get("HTTP_AUTHORIZATION", ""), parameters, clients)
    grant = parameters.get("grant_type")
    if not grant:
        raise _TokenError("invalid_request", "grant_type is missing")
    if grant != "client_credentials":
        raise _TokenError("unsupported_grant_type", "grant_type must be client_credentials")
    # Other scopes are ignored (RFC 6749, 3.3). Without one of ours, the token has all.
    asked = parameters.get("scope", "").split()
    scopes = [scope for scope in own_tokens.SCOPES if scope in asked] or own_tokens.SCOPES
    return {
        "access_token": own_tokens.issue(client, scopes),
        "token_type": "Bearer",
        "expires_in": own_tokens.LIFETIME,
        "scope": " ".join(scopes),
    }


def _parameters(request: HttpRequest) -> dict[str, str]:
    try:
        body = bytes(request.read(LARGEST + 1))
    except (UnreadablePostError, OSError):
        raise _TokenError("invalid_request", "the body is incomplete") from None
    if len(body) > LARGEST:
        raise _TokenError("invalid_request", f"the body has more than {LARGEST} bytes")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise _TokenError("invalid_request", "the body is not a form in UTF-8") from None
    parameters = dict(pairs)
    if len(parameters) < len(pairs):  # RFC 6749, 3.2
        raise _TokenError("invalid_request", "a parameter comes twice")
    return parameters


def _client(authorization: str, parameters: Mapping[str, str], clients: list[str]) -> str:
    """The entry "id:secret" that the request has."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "basic":
        given = _basic_pairs(credentials)
    elif authorization:
        raise _TokenError(
            "invalid_client", "the Authorization header is not basic auth", HTTPStatus.UNAUTHORIZED
        )
    else:
        given = [f"{parameters.get('client_id', '')}:{parameters.get('client_secret', '')}"]
    # Compare all, so that the time of the answer does not tell which secret was nearly right.
    matching = [
        client
        for pair in given
        for client in clients
        if constant_time_compare(pair.encode("utf-8", "replace"), client)
    ]
    if not matching:
        raise _TokenError(
            "invalid_client",
            f"the client's id or secret is missing or is not in {conf.OAUTH_CLIENTS.name}",
            HTTPStatus.UNAUTHORIZED,
        )
    return matching[0]


def _basic_pairs(credentials: str) -> list[str]:
    """Both readings of the header: RFC 6749, 2.3.1, encodes id and secret as in forms, as few clients do."""
    try:
        pair = base64.b64decode(credentials.strip(), validate=True).decode()
    except ValueError:
        return []
    client_id, _, secret = pair.partition(":")
    return [pair, f"{unquote_plus(client_id)}:{unquote_plus(secret)}"]
