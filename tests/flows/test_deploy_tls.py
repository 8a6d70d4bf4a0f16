"""project/proxy/tls.conf, the server with TLS, installed as docs/deploy.md says in "Behind a proxy"."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from devstack.process import Process, free_port, wait_for
from devstack.stack import is_listening
from fake_sendgrid import inbound_form
from fake_sendgrid.events import generate_events
from fake_sendgrid.webhook_sender import event_batch
from tests.support.certificates import Authority
from tests.support.documents import ROOT, block
from tests.support.flows import reverse_proxy
from tests.support.flows.databases import on_sqlite
from tests.support.flows.deployment import PATIENCE, Deployment
from tests.support.flows.machine import Machine
from tests.support.inbound.mails import sample_mail

pytestmark = [
    on_sqlite,
    pytest.mark.skipif(
        reverse_proxy.find_program() is None, reason="no nginx: its package has none for this machine"
    ),
]

HOST = "localhost"

#: The `http` block of a distribution's nginx, which includes our file.
NGINX = """
daemon off;
pid nginx.pid;
error_log stderr warn;
{user}
events {{ }}
http {{
    client_body_temp_path body; proxy_temp_path proxy;
    fastcgi_temp_path fastcgi; scgi_temp_path scgi; uwsgi_temp_path uwsgi;
    access_log off;
    include {folder}/etc/nginx/conf.d/*.conf;
}}
"""

TRACKING, INBOUND = "/anymail/sendgrid/tracking/", "/anymail/sendgrid/inbound/"


@dataclass
class Front:
    deployment: Deployment
    http: str
    https: str
    certificate: Path
    web: Process
    webroot: Path

    def post(self, url: str, body: bytes, **options: str) -> requests.Response:
        return self.deployment.sender.post(url, body, session=self.session(), timeout=PATIENCE, **options)

    def session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False  # REQUESTS_CA_BUNDLE would count for more than the next line
        session.verify = str(self.certificate)
        return session


@pytest.fixture
def front(deployment: Deployment, tmp_path: Path) -> Iterator[Front]:
    http, https = free_port(), free_port()
    deployment.configure(
        DJANGO_ALLOWED_HOSTS=HOST,
        SENDGRID_INBOUND_WEBHOOK_VERIFICATION_KEY=deployment.sender.public_key,
        INBOUND_FOLDER=tmp_path / "in",
    )
    web = deployment.web()
    folder = tmp_path / "machine"
    machine = Machine(folder, deployment.database_url)
    (machine.project / "project" / "proxy").mkdir(parents=True)
    webroot = folder / "webroot"
    (webroot / ".well-known" / "acme-challenge").mkdir(parents=True)
    authority = Authority(tmp_path / "authority")
    issued = authority.issue(HOST)
    live = folder / "etc/letsencrypt/live" / HOST  # as certbot lays a certificate down
    live.mkdir(parents=True)
    issued.certificate.rename(live / "fullchain.pem")
    issued.key.rename(live / "privkey.pem")
    text = (ROOT / "project/proxy/tls.conf").read_text()
    # The host name and paths, as the page says, and ports that a test may open.
    for shipped, ours in (
        ("mail.example.com", HOST),
        ("/etc/letsencrypt", f"{folder}/etc/letsencrypt"),
        ("root /var/www/html;", f"root {webroot};"),
        ("listen 80;", f"listen 127.0.0.1:{http};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{https} ssl;"),
        ("http://127.0.0.1:8000", f"http://127.0.0.1:{deployment.stack.port}"),
    ):
        assert shipped in text
        text = text.replace(shipped, ours)
    (machine.project / "project/proxy/tls.conf").write_text(text)
    program, log = reverse_proxy.find_program(), folder / "nginx.log"
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, user=reverse_proxy.user_line()))
    running: list[str | Path] = [str(program), "-p", folder, "-c", configuration]
    # `nginx -t` and `nginx -s reload`: of this server.
    machine.add_program("nginx", f'#!/bin/sh\nexec {" ".join(map(str, running))} "$@"\n')
    with Process(running, log=log) as nginx:
        wait_for((folder / "nginx.pid").is_file, seconds=30, what="nginx", unless_dead=nginx)
        assert not is_listening(https)
        machine.shell(block("docs/deploy.md", "Behind a proxy"))
        wait_for(lambda: is_listening(https), seconds=30, what="nginx with our file", unless_dead=nginx)
        urls = (f"http://{HOST}:{http}", f"https://{HOST}:{https}")
        yield Front(deployment, *urls, authority.certificate, web, webroot)
    machine.close()


def test_webhooks_behind_tls_accept_posts_by_https_and_by_http(front: Front) -> None:
    form = inbound_form.raw_form(sample_mail(text="\xff\x00\r\n" * 500_000))
    for origin in (front.https, front.http):
        events = event_batch(generate_events(1000))
        assert front.post(origin + TRACKING, events).status_code == 200
        assert front.post(origin + INBOUND, form.body(), content_type=form.content_type).status_code == 200
    with pytest.raises(requests.exceptions.SSLError):
        requests.head(front.https + TRACKING, timeout=PATIENCE)


def test_the_admin_behind_tls_has_secure_cookies_and_takes_the_login_form(front: Front) -> None:
    front.deployment.configure(DJANGO_SUPERUSER_PASSWORD="a-long-word-of-a-test")
    front.deployment.stack.manage(
        "createsuperuser", "--noinput", "--username", "ann", "--email", "ann@example.com"
    )
    session = front.session()
    page = session.get(f"{front.https}/admin/login/?next=/admin/", timeout=PATIENCE)
    (token,) = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    form = {
        "csrfmiddlewaretoken": token,
        "username": "ann",
        "password": "a-long-word-of-a-test",
        "next": "/admin/",
    }
    url = f"{front.https}/admin/login/"
    assert session.post(url, form, timeout=PATIENCE).status_code == 403  # by https a form needs its referer
    assert session.post(url, form, headers={"Origin": front.http}, timeout=PATIENCE).status_code == 403
    browsers = {"Referer": page.url, "Origin": front.https}
    entered = session.post(url, form, headers=browsers, timeout=PATIENCE)
    assert (entered.status_code, entered.url) == (200, f"{front.https}/admin/")
    assert "Site administration" in entered.text
    assert {cookie.name for cookie in session.cookies if cookie.secure} == {"csrftoken", "sessionid"}


def test_logins_are_limited_and_nothing_else_is(front: Front) -> None:
    session, url = front.session(), f"{front.https}/admin/login/"
    answers = [session.post(url, timeout=PATIENCE).status_code for _ in range(40)]
    assert answers[:11] == [403] * 11  # of Django: without a CSRF cookie
    assert answers[-1] == 429
    assert session.get(url, timeout=PATIENCE).status_code == 200
    assert front.post(front.https + TRACKING, event_batch(generate_events(1))).status_code == 200
    answer = requests.post(f"{front.http}/admin/login/", allow_redirects=False, timeout=PATIENCE)
    assert (answer.status_code, answer.headers["Location"]) == (
        301,
        url.replace(f":{urlsplit(url).port}", ""),
    )


def test_by_http_the_admin_is_sent_to_https_whatever_a_client_claims(front: Front) -> None:
    for headers in ({}, {"X-Forwarded-Proto": "https"}):
        answer = requests.get(
            f"{front.http}/admin/", headers=headers, allow_redirects=False, timeout=PATIENCE
        )
        assert (answer.status_code, answer.headers["Location"]) == (301, f"https://{HOST}/admin/")


def test_certbot_renews_by_http(front: Front) -> None:
    (front.webroot / ".well-known/acme-challenge/token").write_text("proof")
    answer = requests.get(f"{front.http}/.well-known/acme-challenge/token", timeout=PATIENCE)
    assert (answer.status_code, answer.text) == (200, "proof")


def test_without_web_each_webhook_gets_503_by_https(front: Front) -> None:
    front.web.kill()
    for path in (TRACKING, INBOUND):
        assert front.post(front.https + path, b"[]").status_code == 503
        assert front.post(front.https + path, b"x" * 50_000_000).status_code == 503
