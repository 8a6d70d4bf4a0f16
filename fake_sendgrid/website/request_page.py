"""The page of a request that was refused."""

from fake_sendgrid.request_log import LoggedRequest
from fake_sendgrid.website import mail_list, mail_parts, states
from fake_sendgrid.website.log_messages import error_texts
from fake_sendgrid.website.markup import Markup, fill, fill_each

_MAIN = """<p class="note"><a href="/">← Mails</a></p><h1>$error</h1>
<div class="card"><table class="facts"><tr><th>Answer</th><td><span class="state bad">$answer</span></td></tr>
<tr><th>Time</th><td>$at</td></tr>$errors</table></div>$hint
<h2>Body of the request</h2><div class="card"><pre>$body</pre></div>"""

_ERROR = """<tr><th>Error</th><td><bdi>$error</bdi></td></tr>"""

_UNAUTHORIZED = """<p class="note">This server accepts the API keys given with <code>--key</code>, or any key
without the option. The request must have one.</p>"""


def main(request: LoggedRequest) -> Markup:
    return fill(
        _MAIN,
        error=mail_list.error_line(request),
        answer=mail_list.answer(request),
        at=states.clock(request.at),
        errors=fill_each(_ERROR, ({"error": error} for error in error_texts(request.response))),
        hint=Markup(_UNAUTHORIZED) if request.status == 401 else "",
        body=mail_parts.readable_json(request.raw) or "empty",
    )
