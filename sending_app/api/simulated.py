"""An answer of SendGrid's that no server has sent, for test runs and the locmem backend."""

import json
import uuid
from http import HTTPStatus

import requests

#: An answer's header with SendGrid's id of the request.
X_MESSAGE_ID = "X-Message-Id"


def response(status_code: int = 202, error: str = "") -> requests.Response:
    """An answer as SendGrid's: with a new X-Message-Id, or from status 300 on with the text of an error."""
    made = requests.Response()
    made.status_code = status_code
    made.reason = HTTPStatus(status_code).phrase
    made._content = b""
    vars(made)["_content_consumed"] = True  # a copy would read from the connection
    if status_code < 300:
        made.headers[X_MESSAGE_ID] = uuid.uuid4().hex[:22]
    else:
        made._content = json.dumps({"errors": [{"message": error, "field": None, "help": None}]}).encode()
    return made
