"""The page that says how to use this server: settings to copy, webhooks, and addresses with a meaning."""

from fake_sendgrid.scenarios import DEFAULT_SCENARIO, SCENARIOS, sends_reply
from fake_sendgrid.server import FakeSendGrid
from fake_sendgrid.website.markup import Markup, fill, fill_each

_SETTINGS = """<div class="card"><pre class="copy">ANYMAIL = {
    "SENDGRID_API_URL": "$url",
    "SENDGRID_API_KEY": "$key",
    "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY": "$public_key",
    "SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY": "$public_key",
}</pre></div>
<p class="note">$key_note Keep the other values of your <code>ANYMAIL</code>. Start with
<code>--signing-key FILE</code> to have the same verification key at the next start.</p>"""

_PAGE = """<h1>Setup</h1>
<h2>Settings of your project</h2>
$settings
<h2>Webhooks of your project</h2>
<form class="card pad" method="post" action="/setup"><input type="hidden" name="token" value="$token">
<label><span>Events are posted to</span>
<input name="webhook_url" value="$webhook_url" placeholder="http://127.0.0.1:8000/anymail/sendgrid/tracking/">
</label>
<label><span>Replies are posted to</span>
<input name="inbound_url" value="$inbound_url" placeholder="http://127.0.0.1:8000/anymail/sendgrid/inbound/">
</label>
<button class="main">Save</button></form>
<p class="note">This holds until the server ends. At the next start, use
<code>--webhook-url</code> and <code>--inbound-url</code>.</p>
<h2>Addresses with a meaning</h2>
<div class="card"><table class="facts">$scenarios</table></div>
<p class="note">The beginning of an address selects the events of its mail.</p>"""

_SCENARIO = """<tr><th><code>$prefix</code></th><td>$events</td></tr>"""


def settings(fake: FakeSendGrid) -> Markup:
    """The settings of a project that uses this server."""
    return fill(
        _SETTINGS,
        url=fake.url,
        key="any" if fake.keys is None else "SG.…",
        public_key=fake.public_key,
        key_note="" if fake.keys is None else "Use one of the API keys that this server accepts (--key).",
    )


def main(fake: FakeSendGrid, token: str) -> Markup:
    scenarios: list[dict[str, object]] = [
        {
            "prefix": f"{prefix}…@",
            "events": ", ".join(names) + ", then a reply" * sends_reply(prefix) or "no events",
        }
        for prefix, names in SCENARIOS.items()
    ]
    scenarios.append({"prefix": "other", "events": ", ".join(DEFAULT_SCENARIO)})
    return fill(
        _PAGE,
        settings=settings(fake),
        token=token,
        webhook_url=fake.webhook_url or "",
        inbound_url=fake.inbound_url or "",
        scenarios=fill_each(_SCENARIO, scenarios),
    )
