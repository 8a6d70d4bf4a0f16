"""The pages of a local SendGrid: what they show, and that a hostile mail stays text."""

import base64
import json
import re
import time
from html.parser import HTMLParser
from typing import Any

import pytest
import requests

from devstack.process import wait_for
from fake_sendgrid.client import Client
from fake_sendgrid.server import FakeSendGrid
from tests.support.fake_sendgrid.api_requests import HEADERS, mail_body, mail_body_with, post_mail
from tests.support.fake_sendgrid.webhook_receiver import PATIENCE, WebhookReceiver

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>"

TEMPLATE = "d-0123456789abcdef0123456789abcdef"


class Page(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    @property
    def text(self) -> str:
        """The text with single spaces."""
        return " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if not self.tags or self.tags[-1][0] not in ("style", "script"):
            self.texts.append(data)


def get(double: Client, path: str) -> requests.Response:
    return requests.get(f"{double.page_url}{path}", timeout=PATIENCE)


def page(double: Client, path: str = "") -> Page:
    response = get(double, path)
    assert response.status_code == 200
    return Page(response.text)


def mail_path(double: Client, **root: Any) -> str:
    """Send a mail; return the path of its page."""
    assert post_mail(double.url, mail_body(**root)).status_code in (200, 202)
    return f"mails/{double.mails[-1].id}"


def attachment(**fields: Any) -> dict[str, Any]:
    return {
        "content": base64.b64encode(b"PNG").decode(),
        "filename": "logo.png",
        "type": "image/png",
        **fields,
    }


def press(double: Client, path: str, **fields: str) -> requests.Response:
    """Press a button of a page; return the page that follows."""
    token = next(tag["value"] for _, tag in page(double).tags if tag.get("name") == "token")
    return requests.post(f"{double.page_url}{path}", {"token": token, **fields}, timeout=PATIENCE)


def test_without_a_mail_the_page_has_the_settings_to_copy(double: Client) -> None:
    text = page(double).text
    assert "No mail yet" in text
    assert f'"SENDGRID_API_URL": "{double.url}"' in text
    for name in ("TRACKING", "INBOUND"):
        assert f'"SENDGRID_{name}_WEBHOOK_VERIFICATION_KEY": "{double.public_key}"' in text


def test_the_list_has_the_newest_mail_first(double: Client) -> None:
    for subject in ("First", "Second"):
        post_mail(
            double.url, mail_body("ann@example.com", "bob@example.com", "eve@example.com", subject=subject)
        )
    text = page(double).text
    assert text.index("Second") < text.index("First")
    assert "ann@example.com, bob@example.com and 1 more" in text
    assert "no events yet" in text
    assert "there is no webhook yet" in text


def test_the_list_has_the_states_of_the_events(double: Client, webhook: WebhookReceiver) -> None:
    double.webhook_url = webhook.url
    post_mail(double.url, mail_body("click@example.com", "blocked@example.com", "bounce@example.com"))
    double.wait_until_posted(PATIENCE)
    assert "delivered opened clicked bounced blocked" in page(double).text


def test_the_list_names_what_the_webhook_answers_instead_of_200(
    double: Client, webhook: WebhookReceiver
) -> None:
    webhook.statuses = [403] * 1000
    double.webhook_url = webhook.url
    path = mail_path(double)
    wait_for(lambda: "webhook: 403 Forbidden" in page(double).text, seconds=PATIENCE, what="the 403")
    assert "Wrong signature: set the verification keys" in page(double, path).text


def test_refused_requests_are_listed_with_their_error_and_body(double: Client) -> None:
    post_mail(double.url, mail_body("ann@", subject=HOSTILE))
    double.next(status=None)
    with pytest.raises(requests.ConnectionError):
        post_mail(double.url)
    requests.post(f"{double.url}mail/send", "{no json", timeout=PATIENCE)
    listed = page(double)
    assert "closed without an answer not taken: Your order no answer" in listed.text
    assert "refused 401" in listed.text
    links = [str(tag["href"]) for _, tag in listed.tags if str(tag.get("href")).startswith("/requests/")]
    unauthorized, _, invalid = [page(double, link[1:]) for link in links]
    assert "{no json" in unauthorized.text
    assert "--key" in unauthorized.text
    assert "personalizations.0.to.0.email: Does not contain a valid address." in invalid.text
    assert "alert(1)" in invalid.text
    assert_harmless(invalid)


def test_the_page_of_a_mail_has_everything(double: Client, webhook: WebhookReceiver) -> None:
    double.webhook_url = double.inbound_url = webhook.url
    path = mail_path(
        double,
        content=[
            {"type": "text/plain", "value": "Plain and simple."},
            {"type": "text/html", "value": '<a href="https://shop.example/1?a=b&amp;c">one</a>'},
        ],
        personalizations=[
            {
                "to": [{"email": "reply.ann@example.com", "name": "Ann"}],
                "cc": [{"email": "bob@example.com"}],
                "custom_args": {"number": "4711"},
            }
        ],
        reply_to={"email": "help@example.org", "name": "Help"},
        categories=["orders"],
        custom_args={"kind": "order"},
        headers={"X-Order": "12"},
        send_at=int(time.time()) + 3600,
        attachments=[attachment(content_id="logo"), attachment(filename="b.pdf", type="application/pdf")],
    )
    wait_for(lambda: "replied" in page(double, path).text, seconds=PATIENCE, what="the reply")
    shown = page(double, path)
    for part in (
        "The shop <shop@example.org>",
        "Ann <reply.ann@example.com> to",
        "bob@example.com cc",
        "4711",
        "Plain and simple.",
        "https://shop.example/1?a=b&c",
        "Reply-To: Help <help@example.org>",
        "X-Order: 12",
        "orders",
        "kind: order",
        "events come at once",
        "logo.png image/png, 3 bytes, inline as cid:logo",
        "b.pdf application/pdf, 3 bytes",
        '"personalizations": [',
        "opened reply.ann@example.com",
        "200 OK",
    ):
        assert part in shown.text
    frames = [tag for name, tag in shown.tags if name == "iframe"]
    assert [(frame["sandbox"], frame["src"]) for frame in frames] == [(None, f"/{path}/contents/1")]
    assert Page(get(double, f"{path}/events").text).text in shown.text


def test_a_mail_of_a_template_shows_its_data(double: Client) -> None:
    one = {"to": [{"email": "ann@example.com"}], "dynamic_template_data": {"name": "Ann", "items": ["tea"]}}
    path = mail_path(double, content=..., subject=..., template_id=TEMPLATE, personalizations=[one])
    text = page(double, path).text
    assert f"SendGrid fills the template {TEMPLATE}" in text
    assert '"dynamic_template_data": { "name": "Ann", "items": [ "tea" ] }' in text
    assert "(subject of the template)" in page(double).text


def test_a_sandbox_mail_is_marked(double: Client) -> None:
    path = mail_path(double, mail_settings={"sandbox_mode": {"enable": True}})
    assert "sandbox: no events" in page(double).text
    assert "A mail in sandbox mode has no events." in page(double, path).text


def test_long_texts_of_the_request_are_shortened_and_downloaded_whole(double: Client) -> None:
    content = base64.b64encode(b"x" * 30_000).decode()
    path = mail_path(double, attachments=[attachment(content=content)])
    assert "(40,000 characters)" in page(double, path).text
    response = get(double, f"{path}/request")
    assert response.headers["Content-Disposition"] == "attachment; filename*=UTF-8''request.json"
    assert json.loads(response.content)["attachments"][0]["content"] == content


def test_a_batch_shows_its_first_recipients(double: Client) -> None:
    path = mail_path(double, personalizations=[{"to": [{"email": f"a{n}@example.com"}]} for n in range(60)])
    shown = page(double, path)
    assert "a49@example.com" in shown.text
    assert "And 10 more." in shown.text


def test_the_events_of_a_batch_end_with_the_number_of_all(double: Client, webhook: WebhookReceiver) -> None:
    double.webhook_url = webhook.url
    path = mail_path(double, personalizations=[{"to": [{"email": f"a{n}@example.com"}]} for n in range(101)])
    double.wait_until_posted(PATIENCE)
    assert "The newest 200 of 202 are shown: " in page(double, f"{path}/events").text
    assert "delivered 101" in page(double).text


def test_an_impossible_time_is_shown_as_a_number(double: Client) -> None:
    path = mail_path(double, send_at=-(10**18))
    assert str(-(10**18)) in page(double, path).text


def test_a_hostile_mail_stays_text(double: Client, webhook: WebhookReceiver) -> None:
    double.webhook_url = double.inbound_url = webhook.url
    path = mail_path(
        double,
        subject=HOSTILE,
        **{"from": {"email": "shop@example.org", "name": HOSTILE}},
        personalizations=[
            {
                "to": [{"email": '"<script>"@example.com', "name": HOSTILE}],
                "substitutions": {HOSTILE: HOSTILE},
            }
        ],
        categories=[HOSTILE],
        custom_args={"note": HOSTILE, HOSTILE: "x"},
        headers={"X-Note": HOSTILE},
        content=[
            {"type": "text/plain", "value": HOSTILE},
            {"type": "text/html", "value": f"<a href='javascript:alert(1)'>{HOSTILE}</a>"},
            {"type": "text/calendar", "value": HOSTILE},
        ],
        attachments=[attachment(filename=HOSTILE, type=HOSTILE, content_id=HOSTILE)],
    )
    double.reply(double.mails[0], HOSTILE)
    double.wait_until_posted(PATIENCE)
    for shown in (page(double), page(double, path), Page(get(double, f"{path}/events").text)):
        assert "alert(1)" in shown.text
        assert_harmless(shown)


def assert_harmless(shown: Page) -> None:
    """The page has its own script and no other active content."""
    assert "onerror=alert" not in re.sub(r"&lt;.*?&gt;", "", shown.source)
    assert not [tag for tag in shown.tags if tag[0] == "img"]
    assert len([tag for tag in shown.tags if tag[0] == "script"]) <= 1
    for _, attributes in shown.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert not str(attributes.get("href")).startswith("javascript:")


def test_the_html_of_a_mail_runs_nothing_and_loads_nothing(double: Client) -> None:
    html = f"<img src=cid:logo><img src='cid:text'><script>alert(1)</script>{HOSTILE}"
    path = mail_path(
        double,
        content=[{"type": "text/html", "value": html}],
        attachments=[attachment(content_id="logo"), attachment(content_id="text", type="text/html")],
    )
    response = get(double, f"{path}/contents/0")
    policy = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert response.headers["Content-Security-Policy"].startswith(policy)
    assert "frame-ancestors 'self'" in response.headers["Content-Security-Policy"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "<img src=data:image/png;base64,UE5H>" in response.text
    assert "src='cid:text'" in response.text


def test_only_the_html_of_a_mail_is_served_as_html(double: Client) -> None:
    path = mail_path(double, content=[{"type": "text/plain", "value": "<b>plain</b>"}])
    assert get(double, f"{path}/contents/0").status_code == 404


@pytest.mark.parametrize(
    ("file_name", "header"),
    [
        ("invoice 1.pdf", "invoice%201.pdf"),
        ('a" filename="b.exe', "a%22%20filename%3D%22b.exe"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("äµ.txt", "%C3%A4%C2%B5.txt"),
        ("\ud83d.txt", "%3F.txt"),
    ],
)
def test_an_attachment_is_only_downloaded(double: Client, file_name: str, header: str) -> None:
    path = mail_path(double, attachments=[attachment(filename=file_name, type="text/html")])
    response = get(double, f"{path}/attachments/0")
    assert response.content == b"PNG"
    assert response.headers["Content-Disposition"] == f"attachment; filename*=UTF-8''{header}"
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response.headers["Content-Security-Policy"]


def test_half_a_surrogate_pair_is_shown_as_a_question_mark(double: Client) -> None:
    path = mail_path(double, subject="\ud83d order")
    assert "? order" in page(double, path).text


@pytest.mark.parametrize("path", ["mails/none", "mails/none/events", "requests/1", "nothing", "mails/"])
def test_a_page_that_is_not_there_says_so(double: Client, path: str) -> None:
    response = get(double, path)
    assert response.status_code == 404
    assert "has been cleared" in response.text


@pytest.mark.parametrize("part", ["contents/9", "attachments/0"])
def test_a_part_that_is_not_there_is_not_found(double: Client, part: str) -> None:
    assert get(double, f"{mail_path(double)}/{part}").status_code == 404


def test_buttons_post_events_and_replies(double: Client, webhook: WebhookReceiver) -> None:
    double.webhook_url = double.inbound_url = webhook.url
    path = mail_path(double, personalizations=[{"to": [{"email": "silent@example.com"}]}])
    for event in ("open", "click", "bounce", "spamreport", "unsubscribe"):
        response = press(double, f"{path}/press", event=event, recipient="silent@example.com", number="0")
        assert response.url == f"{double.page_url}{path}#recipient-0"
    press(double, f"{path}/press", event="reply", recipient="silent@example.com", text="Thanks!")
    double.wait_until_posted(PATIENCE)
    wait_for(lambda: double.inbound_mails[0].statuses, seconds=PATIENCE, what="the reply")
    kinds = [posted.event["event"] for posted in double.mails[0].events]
    assert kinds == ["open", "click", "bounce", "spamreport", "unsubscribe"]
    assert any(b"Thanks!" in request.body for request in webhook.taken)
    assert "Re: Your order silent@example.com to The shop" in page(double).text


def test_without_an_inbound_webhook_the_reply_button_says_where_to_set_it(double: Client) -> None:
    shown = page(double, mail_path(double))
    (button,) = [tag for name, tag in shown.tags if name == "button" and "disabled" in tag]
    assert "page Setup" in str(button["title"])


def test_a_wrong_button_is_an_error(double: Client) -> None:
    response = press(double, f"{mail_path(double)}/press", event="lost", recipient="ada@example.com")
    assert response.status_code == 400
    assert "the events are" in response.text
    assert press(double, "nothing").status_code == 404


def test_clear_forgets_the_mails_and_keeps_the_webhooks(double: Client, webhook: WebhookReceiver) -> None:
    double.webhook_url = webhook.url
    mail_path(double)
    assert "No mail yet" in press(double, "clear").text
    assert double.mails == []
    assert double.webhook_url == webhook.url


def test_the_webhooks_can_be_set(double: Client) -> None:
    mail_path(double)
    shown = Page(press(double, "setup", webhook_url=" http://127.0.0.1:1/a ").text)
    (url,) = [tag["value"] for _, tag in shown.tags if tag.get("name") == "webhook_url"]
    assert (url, double.webhook_url, double.inbound_url) == ("http://127.0.0.1:1/a",) * 2 + (None,)
    response = press(double, "setup", webhook_url="file:///etc/passwd")
    assert response.status_code == 400
    assert double.webhook_url == url


def test_the_setup_page_has_the_scenarios_and_the_keys(fake: FakeSendGrid, double: Client) -> None:
    assert "bounce…@ processed, bounce" in page(double, "setup").text
    fake.keys = {"SG.mine"}
    text = page(double, "setup").text
    assert "one of the API keys that this server accepts" in text
    assert "SG.mine" not in text


def test_a_page_loads_nothing_from_elsewhere(double: Client, webhook: WebhookReceiver) -> None:
    double.webhook_url = double.inbound_url = webhook.url
    path = mail_path(double, personalizations=[mail_body_with()["personalizations"][0]])
    for shown in (page(double), page(double, "setup"), page(double, path)):
        urls = [value for _, tag in shown.tags for name, value in tag.items() if name in ("src", "action")]
        assert all(str(url).startswith("/") for url in urls)
        assert "@import" not in shown.source
        assert "url(" not in shown.source


def test_a_long_list_ends_with_the_number_of_all(double: Client) -> None:
    with requests.Session() as session:
        for _ in range(199):
            session.post(f"{double.url}mail/send", json.dumps(mail_body()), headers=HEADERS)
    double.next(status=500)
    post_mail(double.url)
    assert "The newest" not in page(double).text
    post_mail(double.url)
    assert "The newest 200 of 201 are shown." in page(double).text
