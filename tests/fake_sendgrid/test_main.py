"""`python -m fake_sendgrid` in a terminal."""

import re
import signal
import sys
from pathlib import Path

import pytest
import requests

from devstack.process import Process, free_port, wait_for
from fake_sendgrid.webhook_sender import WebhookSender
from tests.support.fake_sendgrid.api_requests import mail_body, post_mail
from tests.support.fake_sendgrid.webhook_receiver import WebhookReceiver


def run(folder: Path, *arguments: str | Path) -> Process:
    return Process([sys.executable, "-m", "fake_sendgrid", *arguments], log=folder / "log")


def wait_for_line(process: Process, pattern: str) -> str:
    found = wait_for(
        lambda: re.search(pattern, process.output(), re.MULTILINE),
        seconds=60,
        what=pattern,
        unless_dead=process,
    )
    return found[0]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_program_prints_its_urls_and_requests(
    tmp_path: Path, webhook: WebhookReceiver, end: signal.Signals
) -> None:
    port, key = free_port(), tmp_path / "key.pem"
    url = f"http://127.0.0.1:{port}/v3/"
    arguments = ("--port", str(port), "--webhook-url", webhook.url, "--signing-key", key, "--key", "SG.mine")
    with run(tmp_path, *arguments, "--refuse", "eve@example.com") as process:
        wait_for_line(process, "Ctrl-C")
        assert url in process.output()
        page = re.search(r"^page +(http\S+/) ", process.output(), re.MULTILINE)
        assert page
        assert webhook.url in process.output()
        assert WebhookSender.from_key_file(key).public_key in process.output()
        assert re.search("click.* processed, delivered, open, click", process.output())
        to = [f"{word}@example.com" for word in ("ada", "bounce", "click", "dropped", "fay")]
        assert post_mail(url, mail_body(*to), Authorization="Bearer SG.mine").status_code == 202
        refused = post_mail(url, mail_body("eve@example.com"), Authorization="Bearer SG.mine")
        assert refused.status_code == 400
        assert post_mail(url).status_code == 401
        assert "ada@example.com" in requests.get(page[1], timeout=10).text
        wait_for_line(
            process, "  202  mail to ada@example.com, bounce@example.com, click@example.com and 2 more$"
        )
        wait_for_line(process, "  401  .*authorization grant")
        wait_for_line(process, r"  200  events: processed 4, delivered 3")
        process.stop(by=end)
        assert process.wait(10) == 0
        assert "Traceback" not in process.output()


def test_a_mail_gets_a_reply_by_inbound_post(tmp_path: Path, webhook: WebhookReceiver) -> None:
    port = free_port()
    arguments = ("--port", str(port), "--webhook-url", webhook.url, "--inbound-url", webhook.url)
    with run(tmp_path, *arguments) as process:
        wait_for_line(process, "Ctrl-C")
        assert re.search(f"inbound webhook +{webhook.url}", process.output())
        assert re.search("reply.* processed, delivered, open, reply", process.output())
        assert (
            post_mail(f"http://127.0.0.1:{port}/v3/", mail_body("reply.ann@example.com")).status_code == 202
        )
        wait_for_line(
            process, "  200  inbound mail from reply.ann@example.com to The shop <shop@example.org>$"
        )


def test_a_port_in_use_is_an_error(tmp_path: Path, webhook: WebhookReceiver) -> None:
    port = webhook.url.split(":")[2].split("/")[0]
    with run(tmp_path, "--port", port) as process:
        assert process.wait(60) == 1
        assert re.fullmatch(
            r"fake_sendgrid: .*in use: choose another port than .* with --port\n", process.output()
        )


@pytest.mark.parametrize(
    "arguments",
    [
        *(("--duplicates", "2"), ("--disorder", "-1"), ("--port", "x"), ("--port", "65536")),
        *(("--delay", "-1"), ("--webhook-url", "127.0.0.1:8000"), ("--inbound-url", "ftp://x")),
    ],
)
def test_an_invalid_argument_is_refused(tmp_path: Path, arguments: tuple[str, str]) -> None:
    with run(tmp_path, *arguments) as process:
        assert process.wait(60) == 2
        assert f"argument {arguments[0]}" in process.output()
